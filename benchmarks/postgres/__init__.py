"""PostgreSQL: ours against its peers, one worker against two, an empty table against a full one; on one real server, in one run."""
