# Who may do what in the bucket, as Terraform for Google Cloud. A role that may create and not delete cannot replace an
# object there: replacing asks for storage.objects.delete. docs/setup.md and docs/releases.md explain each role.
variable "project" {
  type = string
}

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
  # role => whose runs become it, which prefixes it reads, where it creates
  roles = {
    pull-request = {
      subject = "repo:${var.repository}:pull_request"
      read    = ["trusted", "quarantine"]
      create  = ["quarantine"]
    }
    main = {
      subject = "repo:${var.repository}:environment:trusted-store"
      read    = ["trusted", "quarantine"]
      create  = ["trusted"]
    }
    rebuild = {
      subject = "repo:${var.repository}:environment:rebuild"
      read    = ["trusted", "quarantine"]
      create  = []
    }
    release = {
      subject = "repo:${var.repository}:environment:release"
      read    = ["trusted", "releases"]
      create  = [for folder in ["builds", "claims", "releases", "withdrawals"] : "releases/${var.model}/${folder}"]
    }
    staging = {
      subject = "repo:${var.repository}:environment:staging"
      read    = ["releases"]
      create  = ["releases/${var.model}/environments/staging"]
    }
    production = {
      subject = "repo:${var.repository}:environment:production"
      read    = ["releases"]
      create  = ["releases/${var.model}/environments/production"]
    }
  }
  objects = "projects/_/buckets/${var.bucket}/objects"
}

resource "google_iam_workload_identity_pool" "github" {
  project                   = var.project
  workload_identity_pool_id = "lockgate"
}

resource "google_iam_workload_identity_pool_provider" "github" {
  project                            = var.project
  workload_identity_pool_id          = google_iam_workload_identity_pool.github.workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  attribute_mapping                  = { "google.subject" = "assertion.sub" }
  attribute_condition                = "assertion.repository == '${var.repository}'"
  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account" "lockgate" {
  for_each   = local.roles
  project    = var.project
  account_id = "lockgate-${each.key}"
}

resource "google_service_account_iam_member" "lockgate" {
  for_each           = local.roles
  service_account_id = google_service_account.lockgate[each.key].name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/${google_iam_workload_identity_pool.github.name}/subject/${each.value.subject}"
}

resource "google_storage_bucket_iam_member" "read" {
  for_each = local.roles
  bucket   = var.bucket
  role     = "roles/storage.objectViewer"
  member   = "serviceAccount:${google_service_account.lockgate[each.key].email}"
  condition {
    title      = "reads"
    expression = join(" || ", concat(["resource.type == 'storage.googleapis.com/Bucket'"], [for prefix in each.value.read : "resource.name.startsWith('${local.objects}/${prefix}/')"]))
  }
}

resource "google_storage_bucket_iam_member" "create" {
  for_each = { for name, role in local.roles : name => role if length(role.create) > 0 }
  bucket   = var.bucket
  role     = "roles/storage.objectCreator"
  member   = "serviceAccount:${google_service_account.lockgate[each.key].email}"
  condition {
    title      = "creates"
    expression = join(" || ", [for prefix in each.value.create : "resource.name.startsWith('${local.objects}/${prefix}/')"])
  }
}

output "service_accounts" {
  value = { for name, account in google_service_account.lockgate : name => account.email }
}
