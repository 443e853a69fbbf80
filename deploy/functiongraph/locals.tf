# What can be said without a resource; the tests evaluate it.
locals {
  zip          = coalesce(var.zip, "${path.module}/../../dist/cbr-sync-functiongraph-x86_64.zip")
  project_name = coalesce(var.project_name, var.region)

  # The second function waits for what the first one could not serve, and hands on to itself. So its URN is needed
  # before it is there.
  later_name = "${var.name}-later"
  later_urn  = "urn:fss:${var.region}:${var.project_id}:function:default:${local.later_name}"

  settings = {
    for name, value in {
      CBR_SYNC_REGION               = var.region
      CBR_SYNC_VAULTS               = var.vaults
      CBR_SYNC_ALLOWED_VAULTS       = var.allowed_vaults
      CBR_SYNC_WAIT_SECONDS         = tostring(var.wait_seconds)
      CBR_SYNC_DEFER_TO             = local.later_urn
      CBR_SYNC_SMN_TOPIC_URN        = var.people_topic_urn
      CBR_SYNC_NOTIFY               = var.notify
      CBR_SYNC_LANGUAGE             = var.language
      CBR_SYNC_EVENTGRID_CHANNEL_ID = var.eventgrid_channel_id
      POWERTOOLS_SERVICE_NAME       = var.name
    } : name => value if value != ""
  }

  # Only getUserData shows these to the function; the console shows them to nobody.
  encrypted_settings = {
    for name, value in {
      CBR_SYNC_WEBHOOK_SECRET = var.webhook_secret
      CBR_SYNC_PING_URL       = var.ping_url
    } : name => value if value != ""
  }

  # The least that it needs: to sync; to list operations; to list vaults; to publish outcomes; to hand on.
  actions = concat(
    ["cbr:vaults:sync", "cbr:tasks:list", "cbr:vaults:list", "cbr:vaults:get"],
    ["smn:topic:publish", "smn:topic:list"],
    ["functiongraph:function:invoke", "functiongraph:function:invokeAsync"],
    var.eventgrid_channel_id == "" ? [] : ["eg:channels:putEvents"],
  )

  timer = {
    name           = "nightly"
    schedule_type  = "Cron"
    schedule       = "CRON_TZ=${var.timezone} ${var.schedule}"
    sync_execution = false
    user_event     = ""
  }

  # In the morning, how the vaults stand.
  report = {
    name           = "morning"
    schedule_type  = "Cron"
    schedule       = "CRON_TZ=${var.timezone} ${var.report_schedule}"
    sync_execution = false
    user_event     = jsonencode({ report = { max_age_hours = var.max_age_hours } })
  }

  # Which syncs have ended. In UTC, whatever zone the others have: a zone may skip or repeat an hour.
  follow = var.follow_minutes == 0 ? null : {
    name           = "follow"
    schedule_type  = "Cron"
    schedule       = var.follow_minutes == 60 ? "CRON_TZ=UTC 0 0 * * * *" : "CRON_TZ=UTC 0 */${var.follow_minutes} * * * *"
    sync_execution = false
    user_event     = jsonencode({ follow = { every_minutes = var.follow_minutes, max_age_hours = var.max_age_hours } })
  }

  # Anybody may reach the path; the function itself refuses every request without a valid signature. The gateway sends
  # the body in base64, which the function undoes before it checks the signature.
  webhook = var.webhook_gateway == null ? null : {
    name         = "webhook"
    type         = 1
    instance_id  = var.webhook_gateway.instance_id
    group_id     = var.webhook_gateway.group_id
    env_id       = "DEFAULT_ENVIRONMENT_RELEASE_ID"
    env_name     = "RELEASE"
    path         = var.webhook_gateway.path
    match_mode   = "NORMAL"
    protocol     = "HTTPS"
    req_method   = "POST"
    auth         = "NONE"
    backend_type = "FUNCTION"
    func_info = {
      timeout = min(var.timeout * 1000, 60000)
    }
  }

  triggers = {
    for name, trigger in {
      nightly = { type = "TIMER", data = local.timer }
      morning = { type = "TIMER", data = local.report }
      follow  = { type = "TIMER", data = local.follow }
      webhook = { type = "DEDICATEDGATEWAY", data = local.webhook }
    } : name => trigger if trigger.data != null
  }
}
