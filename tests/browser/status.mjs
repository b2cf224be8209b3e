// The status page in a real browser, while a model goes down and comes back:
// `node tests/browser/status.mjs <the program that serves it>`; see `run`.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chromium } from "playwright-core";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const [program, pictures] = process.argv.slice(2);

const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const server = spawn(program, [], { stdio: ["ignore", "pipe", "inherit"] });
let passed = 0;
const check = (what) => {
  passed += 1;
  console.log(`ok   ${what}`);
};
try {
  const [line] = await once(server.stdout, "data");
  const url = new URL(String(line).trim());
  const context = await browser.newContext({ viewport: { width: 1200, height: 800 } });
  const page = await context.newPage();
  const asked = [];
  const complaints = [];
  page.on("request", (request) => asked.push(request.url()));
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));

  await page.goto(url.href);
  const flux = page.locator("article").filter({ hasText: "flux-schnell" });
  assert.equal(await flux.locator(".state").textContent(), "closed");
  assert.equal(await page.locator("h1").textContent(), "3 of 3 models are well");
  check("all are well at first");

  await page.evaluate(() => (window.stayed = true));
  const state = (text) =>
    page.waitForFunction(
      (text) => document.querySelector("article .state").textContent.startsWith(text),
      text,
      { timeout: 60_000 },
    );
  await state("open");
  assert.equal(await page.locator("h1").textContent(), "2 of 3 models are well");
  assert.match(await flux.locator("ol").textContent(), /status 503/);
  assert.ok((await flux.locator(".strip .bad").count()) >= 1);
  assert.ok(await page.evaluate(() => window.stayed));
  check("an outage arrives on the page by itself");
  if (pictures) await page.screenshot({ path: `${pictures}/status-light.png` });

  const phone = await browser.newContext({ viewport: { width: 390, height: 844 }, colorScheme: "dark" });
  const small = await phone.newPage();
  await small.goto(url.href);
  const wide = await small.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(wide, 0);
  const dark = await small.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.equal(dark, "rgb(18, 19, 22)");
  if (pictures) await small.screenshot({ path: `${pictures}/status-dark.png` });
  await phone.close();
  check("it fits a phone, and is dark where that is wanted");

  await state("closed");
  check("and so does the recovery");

  const styled = await page.evaluate(() => getComputedStyle(document.querySelector("article")).borderLeftWidth);
  assert.equal(styled, "4px");
  assert.deepEqual(complaints, []);
  check("the policy lets its own style and script pass, and nobody complains");
  assert.ok(asked.length > 10);
  for (const each of asked) assert.equal(new URL(each).host, url.host, each);
  check(`no request leaves its host, of ${asked.length}`);

  server.kill();
  await page.waitForFunction(() => document.body.classList.contains("stale"), null, { timeout: 30_000 });
  assert.ok(await page.locator("#stale").isVisible());
  check("a page that gets no answer any more says so");
} finally {
  server.kill();
  await browser.close();
}
console.log(`${passed} passed, 0 failed`);
