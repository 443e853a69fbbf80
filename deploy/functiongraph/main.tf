# A root that uses the module, once for each region. Copy it, and change it as you like.
#
# The keys of whoever deploys come from HW_ACCESS_KEY and HW_SECRET_KEY. They need the right to make agencies and
# custom policies, and, for the webhook, APIG Administrator: FunctionGraph's own rights do not reach there.
terraform {
  required_version = ">= 1.5"

  required_providers {
    huaweicloud = {
      source  = "huaweicloud/huaweicloud"
      version = ">= 1.97.1, < 2"
    }
  }
}

provider "huaweicloud" {
  # Of what has no region, such as agencies; everything else names its own.
  region = sort(keys(var.regions))[0]
}

variable "regions" {
  description = "The regions of the vaults, each with the id of its project, such as { cn-north-4 = { project_id = \"...\" } }"
  type = map(object({
    project_id      = string
    vaults          = optional(string, "hybrid")
    webhook_gateway = optional(object({ instance_id = string, group_id = string, path = optional(string, "/cbr-sync") }))
  }))
}

variable "alarm_emails" {
  description = "Who is notified; each address has to be confirmed once"
  type        = list(string)
  default     = []
}

variable "language" {
  description = "The language of the messages: en (English) or zh (Chinese)"
  type        = string
  default     = "en"
}

variable "webhook_secret" {
  description = "Secrets of webhooks (whsec_...), separated by spaces; empty: none"
  type        = string
  default     = ""
  sensitive   = true
}

variable "webhook_token" {
  description = "Tokens of webhooks whose senders cannot sign, separated by spaces; empty: none"
  type        = string
  default     = ""
  sensitive   = true
}

module "cbr_sync" {
  source   = "./module"
  for_each = var.regions

  region          = each.key
  project_id      = each.value.project_id
  vaults          = each.value.vaults
  webhook_gateway = each.value.webhook_gateway
  webhook_secret  = var.webhook_secret
  webhook_token   = var.webhook_token
  alarm_emails    = var.alarm_emails
  language        = var.language
}

output "functions" {
  description = "What was made in each region"
  value       = module.cbr_sync
}
