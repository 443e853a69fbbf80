variable "region" {
  description = "The region of the function and of the vaults, such as cn-north-4"
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}-[a-z]+-[0-9]{1,3}$", var.region))
    error_message = "A region id such as cn-north-4 or eu-west-101."
  }
}

variable "project_name" {
  description = "The project of the function and the vaults, by its name; null: the region's own, which has its name"
  type        = string
  default     = null
}

variable "project_id" {
  description = "The id of that project; the console's page My Credentials lists it"
  type        = string

  validation {
    condition     = can(regex("^[0-9A-Za-z]{1,64}$", var.project_id))
    error_message = "A project id: 32 hexadecimal digits."
  }
}

variable "name" {
  description = "The name of the function, and the beginning of all other names, the second function's too"
  type        = string
  default     = "cbr-sync"

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9_-]{1,40}$", var.name))
    error_message = "2 to 41 letters, digits, hyphens and underscores, a letter first."
  }
}

variable "endpoint" {
  description = "Another endpoint of CBR than the region's, as in https://cbr.example.com; empty for the region's"
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(https://[A-Za-z0-9.-]+(:[0-9]{1,5})?)?$", var.endpoint))
    error_message = "An https URL of scheme, host and port, or nothing."
  }
}

variable "zip" {
  description = "The zip to deploy, as make build writes it; null: the one in dist"
  type        = string
  default     = null
}

variable "code_url" {
  description = "The URL of the zip in an OBS bucket, used in place of the file; empty: the file. A new zip needs a new URL"
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(https://[A-Za-z0-9.-]+/[^ ]+)?$", var.code_url))
    error_message = "An https URL of an object, or nothing."
  }
}

variable "agency_name" {
  description = "An agency to use that exists; null: the module makes one, with the region in its name"
  type        = string
  default     = null

  validation {
    condition     = var.agency_name == null || can(regex("^[A-Za-z0-9_-]{1,64}$", var.agency_name))
    error_message = "1 to 64 letters, digits, hyphens and underscores."
  }
}

variable "network" {
  description = "The VPC and the subnet in which the function runs; it needs an agency and a way to public endpoints. null: none"
  type = object({
    vpc_id    = string
    subnet_id = string
  })
  default = null
}

variable "enterprise_project_id" {
  description = "The enterprise project of the function and its topic; null: the default one"
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of the function and its topic"
  type        = map(string)
  default     = {}
}

variable "kms_key_id" {
  description = "The id of the KMS key that encrypts the secrets among the variables; null: the service's own"
  type        = string
  default     = null
}

variable "vaults" {
  description = "The hybrid vaults to sync on schedule, ids separated by commas, or hybrid for all of them"
  type        = string
  default     = "hybrid"

  validation {
    condition     = can(regex("^(hybrid|[0-9a-fA-F-]{36}( *, *[0-9a-fA-F-]{36})*)$", var.vaults))
    error_message = "Vault ids (UUIDs) separated by commas, or hybrid."
  }
}

variable "allowed_vaults" {
  description = "The vaults that an event may name, ids separated by commas; empty allows all"
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([0-9a-fA-F-]{36}( *, *[0-9a-fA-F-]{36})*)?$", var.allowed_vaults))
    error_message = "Vault ids (UUIDs) separated by commas, or nothing."
  }
}

variable "webhook_vaults" {
  description = "The vaults to sync where a webhook has a body of somebody else, ids or hybrid; empty: that is an error"
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(|hybrid|[0-9a-fA-F-]{36}( *, *[0-9a-fA-F-]{36})*)$", var.webhook_vaults))
    error_message = "Vault ids (UUIDs) separated by commas, hybrid, or nothing."
  }
}

variable "notification_vaults" {
  description = "The same for notifications of SMN, such as those of CES and CTS"
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(|hybrid|[0-9a-fA-F-]{36}( *, *[0-9a-fA-F-]{36})*)$", var.notification_vaults))
    error_message = "Vault ids (UUIDs) separated by commas, hybrid, or nothing."
  }
}

variable "schedule" {
  description = "When to sync: second, minute, hour, day of month, month, day of week"
  type        = string
  default     = "0 30 4 * * *"

  validation {
    condition     = can(regex("^([0-9A-Za-z*/,?-]+ ){5}[0-9A-Za-z*/,?-]+$", var.schedule))
    error_message = "A cron expression of six fields, seconds first, such as 0 30 4 * * *; a rate such as @every 1h has no fixed times."
  }
}

variable "report_schedule" {
  description = "When to report how the vaults stand, in the same six fields"
  type        = string
  default     = "0 0 9 * * *"

  validation {
    condition     = can(regex("^([0-9A-Za-z*/,?-]+ ){5}[0-9A-Za-z*/,?-]+$", var.report_schedule))
    error_message = "A cron expression of six fields, seconds first, such as 0 0 9 * * *; a rate such as @every 1h has no fixed times."
  }
}

variable "max_age_hours" {
  description = "From how many hours after its last success on a vault is stale"
  type        = number
  default     = 26

  validation {
    condition     = var.max_age_hours > 0 && var.max_age_hours <= 192
    error_message = "More than 0 hours, 192 at most."
  }
}

variable "follow_minutes" {
  description = "How often to look which syncs have ended, and which vaults have become stale; 0 never looks"
  type        = number
  default     = 10

  validation {
    condition     = contains([0, 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60], var.follow_minutes)
    error_message = "One of 0, 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 and 60."
  }
}

variable "timezone" {
  description = "The time zone of the schedules, as the IANA names it; without one the region's would count"
  type        = string
  default     = "UTC"

  validation {
    condition     = can(regex("^[A-Za-z0-9_+/-]+$", var.timezone))
    error_message = "A name such as Europe/Berlin or Asia/Shanghai."
  }
}

variable "wait_seconds" {
  description = "Follow each operation up to so long; below the function's timeout"
  type        = number
  default     = 0

  validation {
    condition     = var.wait_seconds >= 0 && var.wait_seconds <= 900
    error_message = "0 to 900 seconds."
  }
}

variable "memory_size" {
  description = "Memory in MB, and with it the share of a CPU"
  type        = number
  default     = 512

  validation {
    condition     = contains([256, 512, 768, 1024, 1280, 1536, 1792, 2048], var.memory_size)
    error_message = "One of FunctionGraph's sizes: 256, 512, 768, 1024, 1280, 1536, 1792 or 2048."
  }
}

variable "timeout" {
  description = "Seconds that a run may take"
  type        = number
  default     = 60

  validation {
    condition     = var.timeout >= 10 && var.timeout <= 900
    error_message = "10 to 900 seconds."
  }
}

variable "max_instances" {
  description = "How many runs may go on at once; it bounds what strangers on the webhook can cost"
  type        = number
  default     = 10

  validation {
    condition     = var.max_instances >= 1 && var.max_instances <= 1000
    error_message = "1 to 1,000."
  }
}

variable "log_retention_days" {
  description = "How long the log is kept, in days"
  type        = number
  default     = 30

  validation {
    condition     = var.log_retention_days >= 1 && var.log_retention_days <= 365
    error_message = "1 to 365 days; some regions allow 30 at most."
  }
}

variable "alarm_emails" {
  description = "Who is notified by mail; each address has to be confirmed once"
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@ ]+@[^@ ]+$", address))])
    error_message = "Mail addresses."
  }
}

variable "alarms" {
  description = "The alarms to make: failures and throttled by Cloud Eye; quiet and unseen (no scheduled sync, no scheduled report for 26 hours) by LTS, for schedules that run every day"
  type        = set(string)
  default     = ["failures", "throttled", "quiet", "unseen"]

  validation {
    condition     = length(setsubtract(var.alarms, ["failures", "throttled", "quiet", "unseen"])) == 0
    error_message = "Some of failures, throttled, quiet and unseen."
  }
}

variable "alarm_user" {
  description = "The IAM user under whose name LTS notifies; empty: no alarms of LTS"
  type        = string
  default     = ""
}

variable "failure_bucket" {
  description = "An OBS bucket of the region for events that were given up, to be replayed from there; empty: the topic is notified of them"
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$", var.failure_bucket))
    error_message = "The name of a bucket, or nothing."
  }
}

variable "topic_urn" {
  description = "The SMN topic whose subscribers are notified; null: the module makes one"
  type        = string
  default     = null

  validation {
    condition     = var.topic_urn == null || can(regex("^urn:smn:[a-z0-9-]+:[0-9A-Za-z]+:[0-9A-Za-z_-]{1,255}$", var.topic_urn))
    error_message = "The URN of a topic, as in urn:smn:cn-north-4:<project id>:backup."
  }
}

variable "notify" {
  description = "What they are notified of: problems, or all runs"
  type        = string
  default     = "problems"

  validation {
    condition     = contains(["problems", "all"], var.notify)
    error_message = "problems or all."
  }
}

variable "language" {
  description = "The language of these messages: en (English) or zh (Chinese)"
  type        = string
  default     = "en"

  validation {
    condition     = contains(["en", "zh"], var.language)
    error_message = "en or zh."
  }
}

variable "ping_url" {
  description = "A check at Healthchecks.io or the like that each scheduled run pings; stored encrypted; empty: none"
  type        = string
  default     = ""
  sensitive   = true

  validation {
    condition     = can(regex("^(https://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~-]+)*/?)?$", var.ping_url))
    error_message = "An https URL without a query, or nothing."
  }
}

variable "eventgrid_channel_id" {
  description = "The custom EventGrid channel that gets every outcome; empty: none"
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[0-9A-Za-z-]{0,64}$", var.eventgrid_channel_id))
    error_message = "The id of a channel, or nothing."
  }
}

variable "eventgrid_source" {
  description = "The name of the channel's event source; empty: /cbr/{region}/{project_id}"
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([0-9A-Za-z/][0-9A-Za-z/._:-]{0,127})?$", var.eventgrid_source))
    error_message = "The name of a source, or nothing."
  }
}

variable "webhook_secret" {
  description = "Secrets of webhooks (whsec_...), separated by spaces; stored encrypted; empty: none"
  type        = string
  default     = ""
  sensitive   = true

  validation {
    condition     = can(regex("^(whsec_[A-Za-z0-9+/=]{32,88}( whsec_[A-Za-z0-9+/=]{32,88})*)?$", var.webhook_secret))
    error_message = "Secrets of the form whsec_ and base64 of 24 to 64 bytes, or nothing."
  }
}

variable "webhook_token" {
  description = "Tokens of webhooks whose senders cannot sign, separated by spaces; stored encrypted; empty: none"
  type        = string
  default     = ""
  sensitive   = true

  validation {
    condition     = can(regex("^([!-~]{32,}( [!-~]{32,})*)?$", var.webhook_token))
    error_message = "Tokens of at least 32 characters, or nothing."
  }
}

variable "webhook_gateway" {
  description = "The dedicated APIG instance and the API group that let webhooks in; null: none"
  type = object({
    instance_id = string
    group_id    = string
    path        = optional(string, "/cbr-sync")
  })
  default = null
}
