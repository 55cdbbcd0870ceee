# A role is given to whom its trust policy names; a job without `id-token: write`, as a fork's, has no identity.
set -euo pipefail
case "$ROLE $E2E_IDENTITY" in
  "role/pull-request repo:lab/model:pull_request") user=pull-request ;;
  "role/main repo:lab/model:environment:trusted-store") user=main ;;
  *) echo "Not authorized to perform sts:AssumeRoleWithWebIdentity: $ROLE as '$E2E_IDENTITY'" >&2; exit 1 ;;
esac
{
  echo "AWS_ACCESS_KEY_ID=$user"
  echo "AWS_SECRET_ACCESS_KEY=secret-of-$user-0123456789abcdef"
  echo "AWS_REGION=$REGION"
  echo "AWS_DEFAULT_REGION=$REGION"
} >> "$GITHUB_ENV"
