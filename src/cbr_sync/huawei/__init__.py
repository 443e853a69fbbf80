"""The APIs of Huawei Cloud that cbr-sync calls, and their signature."""
