-- Retention keeps failed jobs longer than completed ones, perhaps for ever: each kind has its own index, so that a sweep of one
-- never walks over what is kept of the other.
CREATE INDEX jobs_done_at ON @schema@.jobs (finished_us) WHERE finished_us IS NOT NULL AND status IN ('completed', 'cancelled');
CREATE INDEX jobs_failed_at ON @schema@.jobs (finished_us) WHERE finished_us IS NOT NULL AND status NOT IN ('completed', 'cancelled');
DROP INDEX @schema@.jobs_finished;
