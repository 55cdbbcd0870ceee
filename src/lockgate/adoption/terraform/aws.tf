# Who may do what in the bucket, as Terraform for AWS. Each job of a workflow becomes the one role that its part of the way
# asks for, by GitHub's OIDC; there is no key anywhere. docs/setup.md and docs/releases.md explain each role.
variable "bucket" {
  type    = string
  default = "@BUCKET@"
}

variable "repository" {
  type    = string
  default = "@REPOSITORY@"
}

variable "model" {
  type    = string
  default = "@MODEL@"
}

locals {
  issuer = "token.actions.githubusercontent.com"
  arn    = "arn:aws:s3:::${var.bucket}"
  # role => whose runs become it, which prefixes it reads, where it creates and never replaces, where it adds
  roles = {
    pull-request = {
      subject = "repo:${var.repository}:pull_request"
      read    = ["trusted", "quarantine"]
      create  = []
      add     = ["quarantine"]
    }
    main = {
      subject = "repo:${var.repository}:environment:trusted-store"
      read    = ["trusted", "quarantine"]
      create  = ["trusted"]
      add     = []
    }
    rebuild = {
      subject = "repo:${var.repository}:environment:rebuild"
      read    = ["trusted", "quarantine"]
      create  = []
      add     = []
    }
    release = {
      subject = "repo:${var.repository}:environment:release"
      read    = ["trusted", "releases"]
      create  = [for folder in ["builds", "claims", "releases", "withdrawals"] : "releases/${var.model}/${folder}"]
      add     = []
    }
    staging = {
      subject = "repo:${var.repository}:environment:staging"
      read    = ["releases"]
      create  = ["releases/${var.model}/environments/staging"]
      add     = []
    }
    production = {
      subject = "repo:${var.repository}:environment:production"
      read    = ["releases"]
      create  = ["releases/${var.model}/environments/production"]
      add     = []
    }
  }
}

resource "aws_iam_openid_connect_provider" "github" {
  url            = "https://${local.issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_policy_document" "trust" {
  for_each = local.roles
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.github.arn]
    }
    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:sub"
      values   = [each.value.subject]
    }
  }
}

data "aws_iam_policy_document" "rights" {
  for_each = local.roles
  statement {
    actions   = ["s3:ListBucket"]
    resources = [local.arn]
    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = [for prefix in each.value.read : "${prefix}/*"]
    }
  }
  statement {
    actions   = ["s3:GetObject"]
    resources = [for prefix in each.value.read : "${local.arn}/${prefix}/*"]
  }
  dynamic "statement" {
    for_each = length(each.value.create) > 0 ? [1] : []
    content {
      actions   = ["s3:PutObject"]
      resources = [for prefix in each.value.create : "${local.arn}/${prefix}/*"]
      condition {
        test     = "Null"
        variable = "s3:if-none-match" # only with If-None-Match, which fails where an object is
        values   = ["false"]
      }
    }
  }
  dynamic "statement" {
    for_each = length(each.value.create) > 0 ? [1] : []
    content {
      actions   = ["s3:PutObject"]
      resources = [for prefix in each.value.create : "${local.arn}/${prefix}/*"]
      condition {
        test     = "Bool"
        variable = "s3:ObjectCreationOperation" # the parts of a large object, not putting them together
        values   = ["false"]
      }
    }
  }
  dynamic "statement" {
    for_each = length(each.value.add) > 0 ? [1] : []
    content {
      actions   = ["s3:PutObject"]
      resources = [for prefix in each.value.add : "${local.arn}/${prefix}/*"]
    }
  }
}

resource "aws_iam_role" "lockgate" {
  for_each           = local.roles
  name               = "lockgate-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.trust[each.key].json
}

resource "aws_iam_role_policy" "lockgate" {
  for_each = local.roles
  name     = "lockgate"
  role     = aws_iam_role.lockgate[each.key].id
  policy   = data.aws_iam_policy_document.rights[each.key].json
}

resource "aws_s3_bucket_lifecycle_configuration" "quarantine" {
  bucket = var.bucket
  rule {
    id     = "quarantine"
    status = "Enabled"
    filter {
      prefix = "quarantine/"
    }
    expiration {
      days = 30
    }
  }
}

output "roles" {
  value = { for name, role in aws_iam_role.lockgate : name => role.arn }
}
