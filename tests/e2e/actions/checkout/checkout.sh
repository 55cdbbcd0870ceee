set -euo pipefail
header="AUTHORIZATION: basic $(printf 'x-access-token:%s' "$TOKEN" | base64 -w0)"
setting="http.$GITHUB_SERVER_URL/.extraheader"
git init -q
git remote add origin "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY"
ref=${REF:-$E2E_SHA}
depth=(--depth "$DEPTH" "$ref")
[ "$DEPTH" = 0 ] && depth=('+refs/heads/*:refs/remotes/origin/*' "$ref")
git -c "$setting=$header" fetch -q --no-tags origin "${depth[@]}"
git -c advice.detachedHead=false checkout -q "$ref"
[ "$PERSIST" = false ] || git config "$setting" "$header"
