data "huaweicloud_fgs_runtime_types" "this" {
  region = var.region

  lifecycle {
    postcondition {
      condition     = contains(self.types[*].type, "Python3.12")
      error_message = "FunctionGraph has no Python3.12 in ${var.region}, for which the zip is built."
    }
  }
}

# The function's own rights, and nobody else's.
resource "huaweicloud_identity_role" "this" {
  count = var.agency_name == null ? 1 : 0

  name        = local.account_name
  description = "What cbr-sync may do"
  type        = "XA"
  policy = jsonencode({
    Version   = "1.1"
    Statement = [{ Effect = "Allow", Action = local.actions }]
  })
}

# It takes about ten minutes until a new or changed agency works everywhere: until then runs are refused with 401
# or 403, which cbr-sync reports and does not repeat. The first night is later than that.
resource "huaweicloud_identity_agency" "this" {
  count = var.agency_name == null ? 1 : 0

  name                   = local.agency_name
  description            = "FunctionGraph acts as this for cbr-sync"
  delegated_service_name = "op_svc_cff"

  project_role {
    project = local.project_name
    roles   = [huaweicloud_identity_role.this[0].name]
  }
}

resource "huaweicloud_lts_group" "this" {
  region      = var.region
  group_name  = var.name
  ttl_in_days = var.log_retention_days
}

resource "huaweicloud_lts_stream" "this" {
  region      = var.region
  group_id    = huaweicloud_lts_group.this.id
  stream_name = var.name
}

resource "huaweicloud_fgs_function" "this" {
  region                = var.region
  name                  = var.name
  description           = "Asks CBR to sync checkpoints of hybrid vaults"
  app                   = "default"
  functiongraph_version = "v2"
  runtime               = "Python3.12"
  handler               = "index.handler"
  initializer_handler   = "index.initializer"
  initializer_timeout   = 30
  memory_size           = var.memory_size
  timeout               = var.timeout
  max_instance_num      = tostring(var.max_instances)

  # From OBS where a URL is given: services that run Terraform for others forbid filebase64.
  code_type     = var.code_url == "" ? "zip" : "obs"
  code_filename = var.code_url == "" ? basename(local.zip) : null
  func_code     = var.code_url == "" ? filebase64(local.zip) : null
  code_url      = var.code_url == "" ? null : var.code_url

  agency                       = local.agency_name
  user_data                    = jsonencode(local.settings)
  encrypted_user_data          = jsonencode(local.encrypted_settings)
  user_data_encrypt_kms_key_id = var.kms_key_id

  enterprise_project_id = var.enterprise_project_id
  tags                  = var.tags
  # In a VPC public endpoints need a NAT gateway, so by default there is none.
  vpc_id     = try(var.network.vpc_id, null)
  network_id = try(var.network.subnet_id, null)

  enable_lts_log  = true
  log_group_id    = huaweicloud_lts_group.this.id
  log_group_name  = huaweicloud_lts_group.this.group_name
  log_stream_id   = huaweicloud_lts_stream.this.id
  log_stream_name = huaweicloud_lts_stream.this.stream_name

  depends_on = [huaweicloud_identity_agency.this, data.huaweicloud_fgs_runtime_types.this]

  lifecycle {
    precondition {
      condition     = local.settings_count <= 20
      error_message = "The function would have ${local.settings_count} variables; FunctionGraph allows 20."
    }
    precondition {
      condition     = local.settings_bytes <= 2048
      error_message = "The function's variables would have ${local.settings_bytes} bytes; FunctionGraph allows 2048. Name fewer vaults, or hybrid."
    }
    precondition {
      condition     = var.network == null || var.agency_name != null
      error_message = "In a VPC the function needs an agency with rights for VPC: give its name as agency_name."
    }
  }
}

# What the first function could not serve is handed on to this one: it waits for the older sync for up to an hour, and
# then hands on to itself. It has no trigger; a webhook has to be answered by the first one.
resource "huaweicloud_fgs_function" "later" {
  region                = var.region
  name                  = local.later_name
  description           = "Waits for syncs that run, then serves the triggers that came meanwhile"
  app                   = "default"
  functiongraph_version = "v2"
  runtime               = "Python3.12"
  handler               = "index.handler"
  initializer_handler   = "index.initializer"
  initializer_timeout   = 30
  memory_size           = var.memory_size
  timeout               = 3600
  max_instance_num      = "5"

  code_type     = var.code_url == "" ? "zip" : "obs"
  code_filename = var.code_url == "" ? basename(local.zip) : null
  func_code     = var.code_url == "" ? filebase64(local.zip) : null
  code_url      = var.code_url == "" ? null : var.code_url

  agency                       = local.agency_name
  user_data                    = jsonencode(local.settings)
  encrypted_user_data          = jsonencode(local.encrypted_settings)
  user_data_encrypt_kms_key_id = var.kms_key_id

  enterprise_project_id = var.enterprise_project_id
  tags                  = var.tags
  vpc_id                = try(var.network.vpc_id, null)
  network_id            = try(var.network.subnet_id, null)

  enable_lts_log  = true
  log_group_id    = huaweicloud_lts_group.this.id
  log_group_name  = huaweicloud_lts_group.this.group_name
  log_stream_id   = huaweicloud_lts_stream.this.id
  log_stream_name = huaweicloud_lts_stream.this.stream_name

  depends_on = [huaweicloud_identity_agency.this, data.huaweicloud_fgs_runtime_types.this]
}

# Invocations beyond five instances wait for one that ends, for a day at most.
resource "huaweicloud_fgs_async_invoke_configuration" "later" {
  region                         = var.region
  function_urn                   = huaweicloud_fgs_function.later.urn
  max_async_event_age_in_seconds = 86400
  max_async_retry_attempts       = 2

  on_failure {
    destination = local.on_failure.destination
    param       = local.on_failure.param
  }
}

# The provider ignores status when it makes a trigger: it is live after the first apply, whatever stands here.
# Only its status can be changed later, so another schedule makes another trigger; and the service returns more keys
# than it was given, which are no difference.
resource "huaweicloud_fgs_function_trigger" "this" {
  for_each = local.triggers

  region       = var.region
  function_urn = huaweicloud_fgs_function.this.urn
  type         = each.value.type
  event_data   = jsonencode(each.value.data)

  lifecycle {
    ignore_changes       = [event_data]
    replace_triggered_by = [terraform_data.trigger[each.key]]
  }
}

resource "terraform_data" "trigger" {
  for_each = local.triggers

  input = each.value.data
}

# Without this FunctionGraph retries nothing, and notifies nobody.
resource "huaweicloud_fgs_async_invoke_configuration" "this" {
  region                         = var.region
  function_urn                   = huaweicloud_fgs_function.this.urn
  max_async_event_age_in_seconds = 3600
  max_async_retry_attempts       = 2

  on_failure {
    destination = local.on_failure.destination
    param       = local.on_failure.param
  }
}

# The function's own messages for people, events that were given up, and the alarms.
resource "huaweicloud_smn_topic" "people" {
  count = var.topic_urn == null ? 1 : 0

  region                = var.region
  name                  = local.topic_name
  display_name          = "cbr-sync"
  enterprise_project_id = var.enterprise_project_id
  tags                  = var.tags
}

resource "huaweicloud_smn_subscription" "people" {
  for_each = toset(var.alarm_emails)

  region     = var.region
  topic_urn  = var.topic_urn == null ? huaweicloud_smn_topic.people[0].topic_urn : var.topic_urn
  protocol   = "email"
  endpoint   = each.value
  depends_on = [huaweicloud_smn_topic.people]
}

data "huaweicloud_apig_groups" "webhook" {
  count = var.webhook_gateway == null ? 0 : 1

  region      = var.region
  instance_id = var.webhook_gateway.instance_id
  group_id    = var.webhook_gateway.group_id
}
