"""Providers on loopback, one for each way to answer."""

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Bound and never listening: whoever connects is refused.
BOUND = []
PICTURE = {"b64_json": "cGljdHVyZQ=="}


def chunk(model, content):
    choice = {"index": 0, "delta": {"role": "assistant", "content": content}, "finish_reason": None}
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}


class Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        models = [{"id": "of-the-provider", "object": "model", "created": 1, "owned_by": "nobody"}]
        self.answer(200, {"object": "list", "data": models})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers["authorization"] != "Bearer of-the-provider":
            return self.answer(400, {"error": {"message": "not this provider's credential"}})
        if self.headers["content-type"].startswith("multipart/"):
            return self.answer(200, {"created": len(body), "data": [PICTURE]})
        request = json.loads(body)
        getattr(self, self.server.mode)(request)

    def well(self, request):
        if request.get("stream"):
            self.begin()
            for event in self.events(request):
                self.event(event)
            self.end()
        elif self.path == "/v1/images/generations":
            self.answer(200, {"created": 1, "data": [PICTURE]})
        elif self.path == "/v1/chat/completions":
            message = {"role": "assistant", "content": "Hello world"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            answer = {"id": "1", "object": "chat.completion", "created": 1, "model": request["model"], "choices": [choice]}
            self.answer(200, answer)
        else:
            self.answer(404, {"error": {"message": self.path}})

    def unavailable(self, _):
        self.answer(503, {"error": {"message": "overloaded", "type": "server_error", "param": None, "code": None}})

    def limited(self, _):
        error = {"message": "slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}
        self.answer(429, {"error": error}, {"retry-after": "30"})

    def dies(self, request):
        if request.get("stream"):
            self.begin()
        self.cut()

    def breaks(self, request):
        self.begin()
        self.event(self.events(request)[0])
        self.cut()

    def slow(self, request):
        if request.get("stream"):
            self.begin()
        time.sleep(20)

    def answer(self, status, body, headers={}):
        body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def events(self, request):
        if self.path == "/v1/images/generations":
            kind = "image_generation"
            shape = {"size": "1024x1024", "quality": "low", "background": "opaque", "output_format": "png", "created_at": 1}
            partial = {"type": f"{kind}.partial_image", "partial_image_index": 0, **PICTURE, **shape}
            return [partial, {"type": f"{kind}.completed", **PICTURE, **shape}]
        return [chunk(request["model"], "Hello"), chunk(request["model"], " world")]

    def begin(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def event(self, event):
        name = f"event: {event['type']}\n" if "type" in event else ""
        self.chunk(f"{name}data: {json.dumps(event)}\n\n")

    def end(self):
        if self.path == "/v1/chat/completions":
            self.chunk("data: [DONE]\n\n")
        self.chunk("")

    def chunk(self, text):
        self.wfile.write(f"{len(text.encode()):x}\r\n{text}\r\n".encode())

    def cut(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def start():
    """Starts all of them, and gives their base URLs."""
    bases = {}
    for mode in ["well", "unavailable", "limited", "dies", "breaks", "slow"]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
        server.daemon_threads, server.mode = True, mode
        threading.Thread(target=server.serve_forever, daemon=True).start()
        bases[mode] = f"http://127.0.0.1:{server.server_port}/v1"
    refuses = socket.socket()
    refuses.bind(("127.0.0.1", 0))
    bases["refuses"] = f"http://127.0.0.1:{refuses.getsockname()[1]}/v1"
    BOUND.append(refuses)
    return bases
