terraform {
  required_version = ">= 1.5"

  required_providers {
    huaweicloud = {
      source  = "huaweicloud/huaweicloud"
      version = ">= 1.97.1, < 2"
    }
  }
}

# The keys of whoever deploys come from HW_ACCESS_KEY and HW_SECRET_KEY. They need the right to make agencies and
# custom policies, and, for the webhook, APIG Administrator: FunctionGraph's own rights do not reach there.
provider "huaweicloud" {
  region       = var.region
  project_name = local.project_name
}
