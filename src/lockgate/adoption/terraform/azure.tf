# Who may do what in the storage account, as Terraform for Azure: a container for each prefix, an identity for each role, by
# GitHub's OIDC. Azure has no right to create without replacing: the containers that must not change have an immutability
# policy instead, under which a blob can be added and read, never replaced. docs/setup.md explains each role.
variable "resource_group" {
  type = string
}

variable "location" {
  type = string
}

variable "storage_account" {
  type    = string
  default = "@BUCKET@"
}

variable "repository" {
  type    = string
  default = "@REPOSITORY@"
}

locals {
  # role => whose runs become it, which containers it reads, to which it adds
  roles = {
    pull-request = { subject = "pull_request", read = ["trusted", "quarantine"], add = ["quarantine"] }
    main         = { subject = "environment:trusted-store", read = ["trusted", "quarantine"], add = ["trusted"] }
    rebuild      = { subject = "environment:rebuild", read = ["trusted", "quarantine"], add = [] }
    release      = { subject = "environment:release", read = ["trusted", "releases"], add = ["releases"] }
    staging      = { subject = "environment:staging", read = ["releases"], add = ["releases"] }
    production   = { subject = "environment:production", read = ["releases"], add = ["releases"] }
  }
  reads = merge([for name, role in local.roles : { for container in role.read : "${name}-${container}" => { role = name, container = container } }]...)
  adds  = merge([for name, role in local.roles : { for container in role.add : "${name}-${container}" => { role = name, container = container } }]...)
}

data "azurerm_storage_account" "store" {
  name                = var.storage_account
  resource_group_name = var.resource_group
}

resource "azurerm_storage_container" "store" {
  for_each           = toset(["trusted", "quarantine", "releases"])
  name               = each.key
  storage_account_id = data.azurerm_storage_account.store.id
}

resource "azurerm_storage_container_immutability_policy" "store" {
  for_each                              = toset(["trusted", "releases"])
  storage_container_resource_manager_id = azurerm_storage_container.store[each.key].id
  immutability_period_in_days           = 3650
}

resource "azurerm_user_assigned_identity" "lockgate" {
  for_each            = local.roles
  name                = "lockgate-${each.key}"
  resource_group_name = var.resource_group
  location            = var.location
}

resource "azurerm_federated_identity_credential" "github" {
  for_each            = local.roles
  name                = "github"
  resource_group_name = var.resource_group
  parent_id           = azurerm_user_assigned_identity.lockgate[each.key].id
  audience            = ["api://AzureADTokenExchange"]
  issuer              = "https://token.actions.githubusercontent.com"
  subject             = "repo:${var.repository}:${each.value.subject}"
}

resource "azurerm_role_definition" "adds" {
  name  = "lockgate adds"
  scope = data.azurerm_storage_account.store.id
  permissions {
    data_actions = [
      "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action",
      "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write",
    ]
  }
}

resource "azurerm_role_assignment" "read" {
  for_each             = local.reads
  scope                = azurerm_storage_container.store[each.value.container].id
  role_definition_name = "Storage Blob Data Reader"
  principal_id         = azurerm_user_assigned_identity.lockgate[each.value.role].principal_id
}

resource "azurerm_role_assignment" "add" {
  for_each           = local.adds
  scope              = azurerm_storage_container.store[each.value.container].id
  role_definition_id = azurerm_role_definition.adds.role_definition_resource_id
  principal_id       = azurerm_user_assigned_identity.lockgate[each.value.role].principal_id
}

output "identities" {
  value = { for name, identity in azurerm_user_assigned_identity.lockgate : name => identity.client_id }
}
