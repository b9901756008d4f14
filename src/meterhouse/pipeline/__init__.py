"""Events in, at their own pace: accept, process, retain, verify."""
