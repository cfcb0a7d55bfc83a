// Starts a job and follows it to its end: a page of your own would look like this.

import { countersOf, JobClient, JobFailedError, percentOf } from "./client.js"; // elsewhere: "https://your-service/client.js"

const at = (id) => document.getElementById(id);
let running = null;

at("start").addEventListener("submit", async (event) => {
  event.preventDefault();
  const jobs = new JobClient({ baseUrl: new URL("..", import.meta.url).href, token: at("token").value || null });
  at("go").disabled = true;
  at("result").hidden = true;
  try {
    const job = await jobs.startJob(
      {
        task_type: at("task-type").value,
        target_type: at("target-type").value,
        target_id: at("target-id").value,
        payload: JSON.parse(at("payload").value || "{}"),
      },
      { onProgress: (seen) => show(jobs, seen) },
    );
    at("result").textContent = JSON.stringify(job.result, null, 2);
    at("result").hidden = false;
  } catch (error) {
    at("state").textContent = error instanceof JobFailedError ? error.message : `Not started: ${error.message}`;
  } finally {
    jobs.close();
    running = null;
    at("go").disabled = false;
    at("stop").disabled = true;
  }
});

at("stop").addEventListener("click", () => running?.jobs.cancel(running.id));

function show(jobs, job) {
  running = { jobs, id: job.job_id };
  const { done, failed, total } = countersOf(job);
  at("state").textContent = `Job ${job.job_id} is ${job.status}${job.progress?.message ? `: ${job.progress.message}` : ""}`;
  at("bar").value = percentOf(job);
  at("counters").textContent = total ? `${done} of ${total} items done, ${failed} failed` : "";
  at("stop").disabled = false;
}
