output "function_urn" {
  description = "The function"
  value       = huaweicloud_fgs_function.this.urn
}

output "later_function_urn" {
  description = "The second function, which waits for what the first one could not serve"
  value       = huaweicloud_fgs_function.later.urn
}

output "topic_urn" {
  description = "The SMN topic whose subscribers are notified"
  value       = local.topic_urn
  depends_on  = [huaweicloud_smn_topic.people]
}

output "log_group" {
  description = "The LTS log group and stream with a line for every outcome"
  value       = "${huaweicloud_lts_group.this.group_name}/${huaweicloud_lts_stream.this.stream_name}"
}

output "webhook_url" {
  description = "Where webhooks go to; null without a gateway. A domain of your own can be bound to the API group"
  value       = one([for group in data.huaweicloud_apig_groups.webhook : "https://${group.groups[0].sub_domain}${var.webhook_gateway.path}"])
}
