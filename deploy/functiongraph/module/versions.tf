# No provider block: whoever uses the module has one, and every resource here names its region.
terraform {
  required_version = ">= 1.5"

  required_providers {
    huaweicloud = {
      source  = "huaweicloud/huaweicloud"
      version = ">= 1.97.1, < 2"
    }
  }
}
