set -euo pipefail
if [ "$REPOSITORY" = lockgate/lockgate ]; then # the program that a called workflow installs
  [ "$REF" = "${E2E_PROGRAM%% *}" ]
  mkdir -p "$FOLDER" && cp -a "${E2E_PROGRAM#* }/." "$FOLDER"
  exit
fi
if [ -n "$REPOSITORY" ]; then # the one foreign repository that is checked out; E2E_CML is where it is, empty if GitHub is down
  [ "$REPOSITORY $REF" = "iterative/cml a3a66c74b218b08710f42bf599b066e37cb4cba7" ] && [ -d "$E2E_CML" ]
  mkdir -p "$FOLDER" && cp -a "$E2E_CML/." "$FOLDER"
  exit
fi
header="AUTHORIZATION: basic $(printf 'x-access-token:%s' "$TOKEN-$GITHUB_JOB" | base64 -w0)"
setting="http.$GITHUB_SERVER_URL/.extraheader"
git init -q
git remote add origin "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY"
ref=${REF:-$E2E_SHA}
depth=(--depth "$DEPTH" "$ref")
[ "$DEPTH" = 0 ] && depth=('+refs/heads/*:refs/remotes/origin/*' '+refs/tags/*:refs/tags/*' "$ref")
git -c "$setting=$header" fetch -q --no-tags origin "${depth[@]}"
if [ -z "$REF" ] && [[ $GITHUB_REF = refs/tags/* ]] && [ "$(git rev-parse "$GITHUB_REF^{commit}")" != "$E2E_SHA" ]; then
  echo "The ref '$GITHUB_REF' does not point to the expected commit '$E2E_SHA'." >&2
  exit 1
fi
git -c advice.detachedHead=false checkout -q "$ref"
[ "$PERSIST" = false ] || git config "$setting" "$header"
