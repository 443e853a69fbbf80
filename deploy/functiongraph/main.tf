# The function's own rights, and nobody else's.
resource "huaweicloud_identity_role" "this" {
  name        = var.name
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
  name                   = var.name
  description            = "FunctionGraph acts as this for cbr-sync"
  delegated_service_name = "op_svc_cff"

  project_role {
    project = local.project_name
    roles   = [huaweicloud_identity_role.this.name]
  }
}

resource "huaweicloud_lts_group" "this" {
  group_name  = var.name
  ttl_in_days = var.log_retention_days
}

resource "huaweicloud_lts_stream" "this" {
  group_id    = huaweicloud_lts_group.this.id
  stream_name = var.name
}

# No VPC: it calls public endpoints only, and a VPC would cut them off without a NAT gateway.
resource "huaweicloud_fgs_function" "this" {
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

  code_type     = "zip"
  code_filename = basename(local.zip)
  func_code     = filebase64(local.zip)

  agency              = huaweicloud_identity_agency.this.name
  user_data           = jsonencode(local.settings)
  encrypted_user_data = length(local.encrypted_settings) == 0 ? null : jsonencode(local.encrypted_settings)

  enable_lts_log  = true
  log_group_id    = huaweicloud_lts_group.this.id
  log_group_name  = huaweicloud_lts_group.this.group_name
  log_stream_id   = huaweicloud_lts_stream.this.id
  log_stream_name = huaweicloud_lts_stream.this.stream_name
}

# What the first function could not serve is handed on to this one: it waits for the older sync for up to an hour, and
# then hands on to itself. It has no trigger; a webhook has to be answered by the first one.
resource "huaweicloud_fgs_function" "later" {
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

  code_type     = "zip"
  code_filename = basename(local.zip)
  func_code     = filebase64(local.zip)

  agency              = huaweicloud_identity_agency.this.name
  user_data           = jsonencode(local.settings)
  encrypted_user_data = length(local.encrypted_settings) == 0 ? null : jsonencode(local.encrypted_settings)

  enable_lts_log  = true
  log_group_id    = huaweicloud_lts_group.this.id
  log_group_name  = huaweicloud_lts_group.this.group_name
  log_stream_id   = huaweicloud_lts_stream.this.id
  log_stream_name = huaweicloud_lts_stream.this.stream_name
}

# Invocations beyond five instances wait for one that ends, for a day at most.
resource "huaweicloud_fgs_async_invoke_configuration" "later" {
  function_urn                   = huaweicloud_fgs_function.later.urn
  max_async_event_age_in_seconds = 86400
  max_async_retry_attempts       = 2

  on_failure {
    destination = "SMN"
    param       = jsonencode({ topic_urn = huaweicloud_smn_topic.failures.topic_urn })
  }
}

# The provider ignores status when it makes a trigger: it is live after the first apply, whatever stands here.
# Only its status can be changed later, so another schedule makes another trigger; and the service returns more keys
# than it was given, which are no difference.
resource "huaweicloud_fgs_function_trigger" "this" {
  for_each = local.triggers

  function_urn = huaweicloud_fgs_function.this.urn
  type         = each.value.type
  event_data   = jsonencode(each.value.data)

  lifecycle {
    ignore_changes       = [event_data]
    replace_triggered_by = [terraform_data.trigger[each.key]]
  }
}

# The triggers bore their types as names before there were two timers.
moved {
  from = huaweicloud_fgs_function_trigger.this["TIMER"]
  to   = huaweicloud_fgs_function_trigger.this["nightly"]
}

moved {
  from = huaweicloud_fgs_function_trigger.this["DEDICATEDGATEWAY"]
  to   = huaweicloud_fgs_function_trigger.this["webhook"]
}

moved {
  from = terraform_data.trigger["TIMER"]
  to   = terraform_data.trigger["nightly"]
}

moved {
  from = terraform_data.trigger["DEDICATEDGATEWAY"]
  to   = terraform_data.trigger["webhook"]
}

resource "terraform_data" "trigger" {
  for_each = local.triggers

  input = each.value.data
}

# Without this FunctionGraph retries nothing, and notifies nobody.
resource "huaweicloud_fgs_async_invoke_configuration" "this" {
  function_urn                   = huaweicloud_fgs_function.this.urn
  max_async_event_age_in_seconds = 3600
  max_async_retry_attempts       = 2

  on_failure {
    destination = "SMN"
    param       = jsonencode({ topic_urn = huaweicloud_smn_topic.failures.topic_urn })
  }
}

resource "huaweicloud_smn_topic" "failures" {
  name         = "${var.name}-failures"
  display_name = "cbr-sync: events that were given up"
}

resource "huaweicloud_smn_subscription" "failures" {
  count = var.alarm_email == "" ? 0 : 1

  topic_urn = huaweicloud_smn_topic.failures.topic_urn
  protocol  = "email"
  endpoint  = var.alarm_email
}
