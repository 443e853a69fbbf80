"""Sync hybrid cloud backups into Huawei Cloud CBR from a timer or a webhook."""

__version__ = "0.1.0"
