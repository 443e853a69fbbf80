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

variable "zip" {
  description = "The zip to deploy, as make build writes it; null: the one in dist"
  type        = string
  default     = null
}

variable "vaults" {
  description = "The hybrid vaults to sync on schedule, ids separated by commas, or hybrid for all of them"
  type        = string
  default     = "hybrid"
}

variable "allowed_vaults" {
  description = "The vaults that a webhook may name, ids separated by commas; empty allows all"
  type        = string
  default     = ""
}

variable "schedule" {
  description = "When to sync: second, minute, hour, day of month, month, day of week"
  type        = string
  default     = "0 0 3 * * *"

  validation {
    condition     = length(split(" ", var.schedule)) == 6
    error_message = "Six fields separated by single spaces, seconds first, such as 0 0 3 * * *."
  }
}

variable "report_schedule" {
  description = "When to report how the vaults stand, in the same six fields"
  type        = string
  default     = "0 0 9 * * *"

  validation {
    condition     = length(split(" ", var.report_schedule)) == 6
    error_message = "Six fields separated by single spaces, seconds first, such as 0 0 9 * * *."
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

variable "alarm_email" {
  description = "Who is notified when an event was given up; the address has to be confirmed once; empty: nobody"
  type        = string
  default     = ""
}

variable "people_topic_urn" {
  description = "The SMN topic whose subscribers are notified of trouble; empty: none"
  type        = string
  default     = ""
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
  description = "A check at Healthchecks.io or the like that each run pings; stored encrypted; empty: none"
  type        = string
  default     = ""
  sensitive   = true
}

variable "eventgrid_channel_id" {
  description = "The custom EventGrid channel that gets every outcome; empty: none"
  type        = string
  default     = ""
}

variable "webhook_secret" {
  description = "Secrets of webhooks (whsec_...), separated by spaces; stored encrypted; empty refuses them all"
  type        = string
  default     = ""
  sensitive   = true
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
