"""Commands that come from the cloud, and those that go there."""
