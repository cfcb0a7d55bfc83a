"""Webhooks: receivers are told when jobs end, by deliveries that are jobs of the scheduler itself (``docs/webhooks.md``)."""
