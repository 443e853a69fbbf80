output "function_urn" {
  description = "The function"
  value       = huaweicloud_fgs_function.this.urn
}

output "later_function_urn" {
  description = "The second function, which waits for what the first one could not serve"
  value       = huaweicloud_fgs_function.later.urn
}

output "failure_topic_urn" {
  description = "The SMN topic that is notified of events that were given up"
  value       = huaweicloud_smn_topic.failures.topic_urn
}

output "log_group" {
  description = "The LTS log group and stream with a line for every outcome"
  value       = "${huaweicloud_lts_group.this.group_name}/${huaweicloud_lts_stream.this.stream_name}"
}
