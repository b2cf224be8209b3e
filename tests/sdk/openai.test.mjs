// The official JavaScript SDK against the gateways, whose base URLs are the argument. Prints a line for each check.

import assert from "node:assert/strict";
import OpenAI, { toFile } from "openai";

const gateways = JSON.parse(process.argv[2]);
const messages = [{ role: "user", content: "Hello?" }];

const client = (scenario) =>
  new OpenAI({ baseURL: gateways[scenario], apiKey: "of-the-caller", maxRetries: 0, timeout: 15_000 });

const served = (response) => ["model", "provider", "attempts"].map((name) => response.headers.get(`x-failover-${name}`));

const collect = async (stream, of) => {
  const all = [];
  for await (const event of stream) all.push(of(event));
  return all;
};

const calls = {
  async chat(openai, options) {
    const call = openai.chat.completions.create({ model: "one", messages }, options);
    const { data, response } = await call.withResponse();
    assert.equal(data.choices[0].message.content, "Hello world");
    return served(response);
  },
  async "chat stream"(openai) {
    const call = openai.chat.completions.create({ model: "one", messages, stream: true });
    const { data, response } = await call.withResponse();
    assert.deepEqual(await collect(data, (chunk) => chunk.choices[0].delta.content), ["Hello", " world"]);
    return served(response);
  },
  async image(openai) {
    const { data, response } = await openai.images.generate({ model: "one", prompt: "a dashboard" }).withResponse();
    assert.equal(data.data[0].b64_json, "cGljdHVyZQ==");
    return served(response);
  },
  async "image stream"(openai) {
    const call = openai.images.generate({ model: "one", prompt: "a dashboard", stream: true, partial_images: 1 });
    const { data, response } = await call.withResponse();
    const kinds = await collect(data, (event) => event.type);
    assert.deepEqual(kinds, ["image_generation.partial_image", "image_generation.completed"]);
    return served(response);
  },
};

const second = ["two", "second", "2"];
const answered = { well: ["one", "first", "1"], refuses: second, unavailable: second, dies: second, slow: second };
// Statuses of the first answer and of those after it, when cooldowns and breakers may hold.
const failed = {
  "all refuse": [502, 503],
  "all unavailable": [503],
  "all die": [502, 503],
  "all slow": [504, 503],
  "all limited": [429, 503],
};

const checks = {};
for (const [name, call] of Object.entries(calls)) {
  for (const [scenario, expected] of Object.entries(answered)) {
    checks[`${scenario}: ${name}`] = async () => assert.deepEqual(await call(client(scenario)), expected);
  }
  for (const [scenario, statuses] of Object.entries(failed)) {
    checks[`${scenario}: ${name}`] = () =>
      assert.rejects(call(client(scenario)), (error) => {
        const kind = error.status === 429 ? OpenAI.RateLimitError : OpenAI.InternalServerError;
        assert(error instanceof kind && statuses.includes(error.status), error);
        assert(Number(error.headers.get("retry-after")) >= 1, error.headers.get("retry-after"));
        assert(error.error.message && "type" in error.error, error);
        return true;
      });
  }
}

checks["breaks after its first token"] = async () => {
  const stream = await client("breaks").chat.completions.create({ model: "one", messages, stream: true });
  const seen = [];
  await assert.rejects(async () => {
    for await (const chunk of stream) seen.push(chunk.choices[0].delta.content);
  });
  assert.deepEqual(seen, ["Hello"]);
};

checks["unknown model"] = () =>
  assert.rejects(client("well").chat.completions.create({ model: "three", messages }), (error) => {
    assert(error instanceof OpenAI.NotFoundError, error);
    assert.deepEqual([error.code, error.type], ["model_not_found", "invalid_request_error"]);
    return true;
  });

checks["list of the header"] = async () => {
  const headers = { "x-failover-models": "two" };
  assert.deepEqual(await calls.chat(client("well"), { headers }), ["two", "second", "1"]);
};

checks["unknown model in the header"] = () =>
  assert.rejects(calls.chat(client("well"), { headers: { "x-failover-models": "two, three" } }), (error) => {
    assert(error instanceof OpenAI.BadRequestError, error);
    assert.equal(error.code, "invalid_models");
    return true;
  });

checks["no model"] = async () => {
  const { data, response } = await client("well").models.list().withResponse();
  assert.deepEqual(data.data.map((model) => model.id), ["of-the-provider"]);
  assert.deepEqual(served(response), [null, "first", "1"]);
};

checks.upload = async () => {
  const picture = await toFile(Buffer.alloc(350_000), "picture.png", { type: "image/png" });
  const call = client("well").images.edit({ model: "one", image: picture, prompt: "brighter" });
  const { data, response } = await call.withResponse();
  assert(data.created > 350_000);
  assert.deepEqual(served(response), [null, "first", "1"]);
};

checks["at once"] = async () => {
  const openai = client("dies");
  const answers = Array.from({ length: 8 }, () => calls["chat stream"](openai));
  assert.deepEqual(await Promise.all(answers), Array(8).fill(second));
};

for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok      javascript, ${name}`);
  } catch (error) {
    console.log(`FAILED  javascript, ${name}: ${String(error).split("\n").join(" ")}`);
  }
}
