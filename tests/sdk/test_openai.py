"""The official Python SDK against the gateways, whose base URLs are the argument. Prints a line for each check."""

import asyncio
import json
import sys

import openai

GATEWAYS = json.loads(sys.argv[1])
MESSAGES = [{"role": "user", "content": "Hello?"}]


def client(scenario):
    return openai.OpenAI(base_url=GATEWAYS[scenario], api_key="of-the-caller", max_retries=0, timeout=15)


def served(response):
    return tuple(response.headers.get(f"x-failover-{name}") for name in ["model", "provider", "attempts"])


def chat(openai, **more):
    raw = openai.chat.completions.with_raw_response.create(model="one", messages=MESSAGES, **more)
    assert raw.parse().choices[0].message.content == "Hello world", raw.text
    return served(raw)


def chat_stream(openai):
    raw = openai.chat.completions.with_raw_response.create(model="one", messages=MESSAGES, stream=True)
    words = [chunk.choices[0].delta.content for chunk in raw.parse()]
    assert words == ["Hello", " world"], words
    return served(raw)


def image(openai):
    raw = openai.images.with_raw_response.generate(model="one", prompt="a dashboard")
    assert raw.parse().data[0].b64_json == "cGljdHVyZQ=="
    return served(raw)


def image_stream(openai):
    raw = openai.images.with_raw_response.generate(model="one", prompt="a dashboard", stream=True, partial_images=1)
    kinds = [event.type for event in raw.parse()]
    assert kinds == ["image_generation.partial_image", "image_generation.completed"], kinds
    return served(raw)


CALLS = [chat, chat_stream, image, image_stream]
ANSWERED = {
    "well": ("one", "first", "1"),
    "refuses": ("two", "second", "2"),
    "unavailable": ("two", "second", "2"),
    "dies": ("two", "second", "2"),
    "slow": ("two", "second", "2"),
}
# Statuses of the first answer and of those after it, when cooldowns and breakers may hold.
FAILED = {
    "all refuse": {502, 503},
    "all unavailable": {503},
    "all die": {502, 503},
    "all slow": {504, 503},
    "all limited": {429, 503},
}


def answered(scenario, call):
    got = call(client(scenario))
    assert got == ANSWERED[scenario], got


def failed(scenario, call):
    try:
        call(client(scenario))
    except openai.APIStatusError as error:
        kind = openai.RateLimitError if error.status_code == 429 else openai.InternalServerError
        assert type(error) is kind and error.status_code in FAILED[scenario], repr(error)
        assert int(error.response.headers["retry-after"]) >= 1
        assert isinstance(error.body, dict) and error.body["message"] and "type" in error.body, error.body
    else:
        raise AssertionError("answered")


def breaks_after_its_first_token():
    stream = client("breaks").chat.completions.create(model="one", messages=MESSAGES, stream=True)
    assert next(stream).choices[0].delta.content == "Hello"
    try:
        list(stream)
    except Exception:
        return
    raise AssertionError("the stream ended well")


def unknown_model():
    try:
        client("well").chat.completions.create(model="three", messages=MESSAGES)
    except openai.NotFoundError as error:
        assert error.code == "model_not_found" and error.type == "invalid_request_error", repr(error)
    else:
        raise AssertionError("answered")


def list_of_the_header():
    got = chat(client("well"), extra_headers={"x-failover-models": "two"})
    assert got == ("two", "second", "1"), got


def unknown_model_in_the_header():
    try:
        chat(client("well"), extra_headers={"x-failover-models": "two, three"})
    except openai.BadRequestError as error:
        assert error.code == "invalid_models", repr(error)
    else:
        raise AssertionError("answered")


def no_model():
    raw = client("well").models.with_raw_response.list()
    assert [model.id for model in raw.parse()] == ["of-the-provider"]
    assert served(raw) == (None, "first", "1"), served(raw)


def upload():
    raw = client("well").images.with_raw_response.edit(model="one", image=b"picture" * 50_000, prompt="brighter")
    assert raw.parse().created > 350_000
    assert served(raw) == (None, "first", "1"), served(raw)


def at_once_and_async():
    async def ask():
        async with openai.AsyncOpenAI(
            base_url=GATEWAYS["dies"], api_key="of-the-caller", max_retries=0, timeout=15
        ) as client:
            create = client.chat.completions.create
            streams = await asyncio.gather(*[create(model="one", messages=MESSAGES, stream=True) for _ in range(8)])
            return ["".join([chunk.choices[0].delta.content async for chunk in stream]) for stream in streams]

    assert asyncio.run(ask()) == ["Hello world"] * 8


def main():
    checks = [(f"{scenario}: {call.__name__}", lambda s=scenario, c=call: answered(s, c)) for scenario in ANSWERED for call in CALLS]
    checks += [(f"{scenario}: {call.__name__}", lambda s=scenario, c=call: failed(s, c)) for scenario in FAILED for call in CALLS]
    others = [breaks_after_its_first_token, unknown_model, list_of_the_header, unknown_model_in_the_header, no_model, upload, at_once_and_async]
    checks += [(check.__name__, check) for check in others]
    for name, check in checks:
        try:
            check()
            print(f"ok      python, {name}", flush=True)
        except Exception as error:
            print(f"FAILED  python, {name}: {type(error).__name__}: {error}", flush=True)


main()
