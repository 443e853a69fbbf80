# What the function cannot say itself. Failed syncs and stale vaults are none of these: the function writes to the same
# topic about them, with the vaults' names.

resource "huaweicloud_ces_alarmrule" "this" {
  for_each = local.metric_alarms

  region               = var.region
  alarm_name           = "${var.name}-${each.key}"
  alarm_type           = "MULTI_INSTANCE"
  alarm_action_enabled = true

  metric {
    namespace = "SYS.FunctionGraph"
  }

  resources {
    dimensions {
      name  = "package-functionname"
      value = "default-${var.name}"
    }
  }

  condition {
    metric_name         = each.value
    period              = 300
    filter              = "sum"
    comparison_operator = ">"
    value               = 0
    count               = 1
    unit                = "Count"
    suppress_duration   = 86400
  }

  alarm_actions {
    type              = "notification"
    notification_list = [local.topic_urn]
  }

  depends_on = [huaweicloud_smn_topic.people]
}

# Written as < 1: the provider drops a number of 0. The topic has to let LTS publish.
resource "huaweicloud_lts_keywords_alarm_rule" "this" {
  for_each = local.keyword_alarms

  region                      = var.region
  name                        = "${var.name}-${each.key}"
  alarm_level                 = "MAJOR"
  send_notifications          = true
  notification_frequency      = 360
  trigger_condition_count     = each.value.times
  trigger_condition_frequency = each.value.times

  keywords_requests {
    keywords               = each.value.words
    condition              = each.value.operator
    number                 = 1
    log_group_id           = huaweicloud_lts_group.this.id
    log_stream_id          = huaweicloud_lts_stream.this.id
    search_time_range_unit = "hour"
    search_time_range      = each.value.hours
  }

  frequency {
    type = "HOURLY"
  }

  notification_save_rule {
    template_name = "keywords_template" # built in
    user_name     = var.alarm_user
    language      = var.language == "zh" ? "zh-cn" : "en-us"

    topics {
      name      = reverse(split(":", local.topic_urn))[0]
      topic_urn = local.topic_urn
    }
  }

  depends_on = [huaweicloud_smn_topic.people]
}
