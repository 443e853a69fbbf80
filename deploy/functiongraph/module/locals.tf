# What can be said without a resource; the tests evaluate it.
locals {
  project_name = coalesce(var.project_name, var.region)

  # Roles and agencies belong to the account, so that a second region needs others.
  account_name = "${var.name}-${var.region}"
  agency_name  = coalesce(var.agency_name, local.account_name)

  # The second function waits for what the first one could not serve, and hands on to itself. So its URN is needed
  # before it is there.
  later_name = "${var.name}-later"
  later_urn  = "urn:fss:${var.region}:${var.project_id}:function:default:${local.later_name}"

  # Where people are notified: a topic that is given, or one of the module's own, whose URN is known before it is there.
  topic_name = "${var.name}-people"
  topic_urn  = coalesce(var.topic_urn, "urn:smn:${var.region}:${var.project_id}:${local.topic_name}")

  zip = coalesce(var.zip, "${path.module}/../../../dist/cbr-sync-functiongraph-x86_64.zip")

  settings = {
    for name, value in {
      CBR_SYNC_REGION               = var.region
      CBR_SYNC_ENDPOINT             = var.endpoint
      CBR_SYNC_VAULTS               = var.vaults
      CBR_SYNC_ALLOWED_VAULTS       = var.allowed_vaults
      CBR_SYNC_WEBHOOK_VAULTS       = var.webhook_vaults
      CBR_SYNC_NOTIFICATION_VAULTS  = var.notification_vaults
      CBR_SYNC_WAIT_SECONDS         = tostring(var.wait_seconds)
      CBR_SYNC_DEFER_TO             = local.later_urn
      CBR_SYNC_SMN_TOPIC_URN        = local.topic_urn
      CBR_SYNC_NOTIFY               = var.notify
      CBR_SYNC_LANGUAGE             = var.language
      CBR_SYNC_EVENTGRID_CHANNEL_ID = var.eventgrid_channel_id
      CBR_SYNC_EVENTGRID_SOURCE     = var.eventgrid_source
      POWERTOOLS_SERVICE_NAME       = var.name
    } : name => value if value != ""
  }

  # Only getUserData shows these to the function; the console shows them to nobody. An empty object, and never null,
  # where there are none: the provider sends no null, and a secret that was taken out would stay valid.
  encrypted_settings = {
    for name, value in {
      CBR_SYNC_WEBHOOK_SECRET = var.webhook_secret
      CBR_SYNC_WEBHOOK_TOKEN  = var.webhook_token
      CBR_SYNC_PING_URL       = var.ping_url
    } : name => value if value != ""
  }

  # FunctionGraph takes 20 variables and 2 KB of them, and says which limit it was by a number only.
  all_settings   = merge(local.settings, local.encrypted_settings)
  settings_count = length(local.all_settings)
  settings_bytes = sum([for name, value in local.all_settings : length(name) + length(value)])

  # The least that it needs, which is also what a policy made in the console has: to sync; to list operations; to list
  # vaults; to publish; to hand on. And what some settings need.
  actions = concat(
    jsondecode(file("${path.module}/../policy.json")).Statement[0].Action,
    var.eventgrid_channel_id == "" ? [] : ["eg:channels:putEvents"],
    var.failure_bucket == "" ? [] : ["obs:bucket:HeadBucket", "obs:object:PutObject"],
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

  # Anybody may reach the path; the function itself refuses every request without a valid signature or token. The
  # gateway sends the body in base64, which the function undoes before it checks the signature.
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

  # Where what was given up goes: to a bucket, from which it can be replayed, or as a notification. One target is allowed.
  on_failure = var.failure_bucket == "" ? {
    destination = "SMN"
    param       = jsonencode({ topic_urn = local.topic_urn })
    } : {
    destination = "OBS"
    param       = jsonencode({ bucket = var.failure_bucket, prefix = "${var.name}/", expires = 0 })
  }

  # Failed and throttled runs, by Cloud Eye. The function cannot say either itself.
  metric_alarms = {
    for name, metric in { failures = "failcount", throttled = "rejectcount" } : name => metric
    if contains(var.alarms, name)
  }

  # Silence, by the words with which scheduled runs end. 26 hours are a window of 24 hours that is empty three times,
  # an hour apart. LTS demands the name of an IAM user.
  keyword_alarms = {
    for name, alarm in {
      quiet  = { words = "cbr-sync.scheduled.sync.*", operator = "<", hours = 24, times = 3 }
      unseen = { words = "cbr-sync.scheduled.report.*", operator = "<", hours = 24, times = 3 }
    } : name => alarm
    if contains(var.alarms, name) && var.alarm_user != ""
  }
}
