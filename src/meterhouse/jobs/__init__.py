"""What goes on beside the requests, each with one owner, at its own pace."""
