# A role is given to whom its trust policy names; a job without `id-token: write`, as a fork's, has no identity.
set -euo pipefail
identity="E2E_IDENTITY_$GITHUB_JOB"
case "$ROLE ${!identity}" in
  "role/pull-request repo:lab/model:pull_request") user=pull-request ;;
  "role/pull-request repo:lab/model:ref:refs/heads/gh-readonly-queue/"*) user=pull-request ;;
  "role/pull-request repo:lab/model:ref:refs/heads/lockgate-retrain-"*) user=pull-request ;;
  "role/rebuild repo:lab/model:environment:rebuild") user=rebuild ;;
  "role/main repo:lab/model:environment:trusted-store") user=main ;;
  "role/release repo:lab/model:environment:release") user=release ;;
  "role/heartbeat repo:lab/model:environment:heartbeat") user=heartbeat ;;
  "role/promote-staging repo:lab/model:environment:staging") user=promote-staging ;;
  "role/promote-production repo:lab/model:environment:production") user=promote-production ;;
  *) echo "Not authorized to perform sts:AssumeRoleWithWebIdentity: $ROLE as '${!identity}'" >&2; exit 1 ;;
esac
{
  echo "AWS_ACCESS_KEY_ID=$user"
  echo "AWS_SECRET_ACCESS_KEY=secret-of-$user-0123456789abcdef"
  echo "AWS_REGION=$REGION"
  echo "AWS_DEFAULT_REGION=$REGION"
} >> "$GITHUB_ENV"
