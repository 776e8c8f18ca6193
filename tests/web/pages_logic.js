// What `test_pages_logic.py` has the browser reckon with the modules of the pages.
async (own) => {
  const from = (name) => import(`/dtf/${own}/${name}.js`);
  const { Mirror } = await from("mirror");
  const { Following, ...times } = await from("following");
  const { SeriesBuffer, stacked } = await from("series");
  const { lanesOf } = await from("timeline");
  const { duration, plain, bytes } = await from("format");
  const { groupsOf, scarceOf } = await from("scheduling");
  const { changeOf } = await from("figures");
  const { runOf } = await from("worker");
  const { touchedBy } = await from("coordinators");
  const { elsewhere } = await from("link");
  const { commandOf } = await from("again");
  const found = {};
  found.runs = ["dtf-batch-2026-r1-17", "dtf-batch-17", "inc-1"].map(runOf);

  const mirror = new Mirror();
  const first = { cluster: { at: 5 }, "worker/a": { n: 1 } };
  mirror.replace({ id: "1:1", at: 6, records: first });
  const put = { "worker/b": { n: 2 }, "load/b": { cpu: 1 } };
  mirror.change({ id: "1:2", at: 7, put, gone: ["worker/a", "run/none"] });
  found.mirror = [mirror.id, mirror.seenAt, mirror.rows("worker"), mirror.load("worker/b")];
  const web = (name) => ({ [`coordinator/${name}`]: { web: name } });
  const places = { ...web("127.0.0.1:1"), ...web("127.0.0.1:2"), ...web(""), ...web("<x>") };
  mirror.change({ id: "1:3", at: 8, put: places, gone: [] });
  found.elsewhere = elsewhere(mirror, "http://127.0.0.1:1");

  // A node that is gone: tried once more, others looked for after a while, and gone to.
  const lost = new Following(0);
  const told = [];
  const say = (event, now) => told.push(...lost.handle(event, now));
  say({ type: "heard" }, 0);
  say({ type: "tick" }, 100);
  say({ type: "broken" }, 200);
  for (let now = 300; now <= 900; now += 100) {
    say({ type: "tick" }, now);
    say({ type: "broken" }, now);
  }
  found.early = told.filter((one) => one !== "disconnect");
  say({ type: "there", url: "x" }, 950);
  found.gone = told.at(-1);

  // Gone to once: it is loaded, unless that takes too long.
  told.length = 0;
  for (let now = 1000; now <= 950 + times.GOING_MS; now += 100) say({ type: "tick" }, now);
  found.going = told.includes("probe");
  say({ type: "tick" }, 1000 + times.GOING_MS);
  found.again = told.at(-1);

  // One that is back before is read on, and nobody goes anywhere.
  const back = new Following(0);
  back.handle({ type: "heard" }, 0);
  back.handle({ type: "broken" }, 100);
  back.handle({ type: "heard" }, 300);
  found.back = back.handle({ type: "there", url: "x" }, 900);

  // One that says nothing is asked, and left if it does not answer.
  const silent = new Following(0);
  silent.handle({ type: "heard" }, 0);
  found.silent = [
    silent.handle({ type: "tick" }, times.SILENT_MS),
    silent.handle({ type: "tick" }, times.SILENT_MS + 1),
    silent.handle({ type: "tick" }, times.SILENT_MS + 100),
    silent.handle({ type: "unanswered" }, times.SILENT_MS + times.CHECK_MS),
    silent.handle({ type: "tick" }, times.SILENT_MS + times.CHECK_MS + 1),
  ];

  const buffer = new SeriesBuffer(4);
  buffer.add({ start_s: 10, step_s: 1, values: { n: [1, 2, 3] } });
  const since = buffer.since;
  buffer.add({ start_s: 11, step_s: 1, values: { n: [5, null, 7, 8], "class/a/waiting": [1, 1, 1, 1] } });
  found.series = [since, buffer.startS, buffer.values.n, buffer.values["class/a/waiting"], buffer.classes("waiting")];
  found.stacked = stacked(buffer, ["a", "b"], (name) => `class/${name}/waiting`).high1;
  buffer.add({ start_s: 15, step_s: 1, values: { n: [1], "class/a/waiting": [null], "class/b/waiting": [null] } });
  found.gap = stacked(buffer, ["a", "b"], (name) => `class/${name}/waiting`).high1.at(-1);
  buffer.add({ start_s: 100, step_s: 1, values: { n: [1] } });
  found.anew = [buffer.startS, buffer.values.n];

  found.lanes = lanesOf([
    { row: "w", start: 0, end: 2 },
    { row: "w", start: 1, end: 3 },
    { row: "w", start: 2, end: 4 },
    { row: "v", start: 0, end: 1 },
  ]);
  found.words = [duration(0.25), duration(61), duration(-90), bytes(3 * 2 ** 30), plain("a\u202e\u001b[1m\n")];
  const rows = [
    { waits_for: "", waiting: 2, since: 0, now: 9, needs: "any worker", workers: 3, help: "" },
    { waits_for: "a GPU", waiting: 5, since: 4, now: 9, needs: "gpu", workers: 1, help: "buy one" },
    { waits_for: "room", waiting: 1, since: 2, now: 9, needs: "arm", workers: 0, help: "" },
  ];
  found.groups = groupsOf(rows).map((one) => [one.reason, one.waiting, one.longest, one.help]);
  found.scarce = scarceOf(rows).map((one) => one.needs);
  const attempt = (case_id, number, outcome, at) => ({ run: "r", case_id, number, outcome, worker: "w", started_at: at, duration_s: 5 });
  const ran = [attempt("a", 1, "passed", 8), attempt("b", 1, "lost", 8), attempt("b", 2, "passed", 14), attempt("c", 1, "passed", 20)];
  found.touched = touchedBy(ran, { start: 10, end: 12 }).map((one) => [one.case_id, one.cost]);
  const changes = [[5, 10], [1.001, 1], [3, 0], [0, 0], [1, null]];
  found.changes = changes.map(([last, before]) => changeOf({ last, before }));
  const run = { run: "r-1", rootdir: "/a b", policy: { cwd: "below" } };
  found.command = commandOf(run, ["--case", "t.py::t['$(x)']"]);
  return found;
}
