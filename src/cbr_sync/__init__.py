"""Sync hybrid cloud backups into Huawei Cloud CBR from a timer or a webhook."""
