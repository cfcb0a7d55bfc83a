-- The trigger's plan is made once for a session, for as many rows as its first call had: made for one job, it must not compare each of the
-- next five hundred with each.
ALTER FUNCTION @schema@.journal_changed() SET enable_nestloop = off;
