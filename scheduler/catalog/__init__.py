"""From folders and files to targets, and what was learned of them.

``scan`` finds targets, ``Catalog`` keeps them, ``CatalogFollower`` lets their ``ai_status`` follow
their jobs. Nothing here enqueues or runs a job.
"""
