/**
 * The upstream, a process of its own: as little HTTP/1.1 over node:net as the clients need, so that they are what is measured.
 *
 * Chat completions are answered whole or, where the request says so, as 20 events, one per turn of the event loop. Below
 * `/hold` an answer waits until `POST /release`. `GET /count` tells how many answers were given.
 */
import { createServer, type Socket } from "node:net"

const content =
  "A keel runs along the bottom of the hull, and its weight rights the ship when the wind lays it over. ".repeat(
    2
  )
const usage = { prompt_tokens: 42, completion_tokens: 48, total_tokens: 90, cost: 0.000_018 }
const base = {
  id: "gen-0001",
  provider: "Bench",
  model: "openai/gpt-4o-mini",
  created: 1_790_000_000,
  system_fingerprint: "fp"
}

const whole = JSON.stringify({
  ...base,
  object: "chat.completion",
  choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content } }],
  usage
})
const chunk = (delta: object, more: object = {}, finish: string | null = null) =>
  `data: ${JSON.stringify({ ...base, object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: finish }], ...more })}\n\n`

/** What a key's page says: a cap that no run reaches. */
const keyInfo = JSON.stringify({
  data: { label: "bench", limit: 1e6, limit_remaining: 1e6, limit_reset: null, usage: 0, is_free_tier: false }
})

const head = (type: string, length: number | undefined) =>
  `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\n${
    length === undefined ? "transfer-encoding: chunked" : `content-length: ${length}`
  }\r\nx-request-id: req-0001\r\ncache-control: no-store\r\n\r\n`
const json = (body: string) => Buffer.from(head("application/json", Buffer.byteLength(body)) + body)
const piece = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`

export const events = 20
const answers = { whole: json(whole), key: json(keyInfo), ok: json("{}") }
const pieces: ReadonlyArray<Buffer> = [
  ...Array.from({ length: events - 1 }, (_, i) =>
    chunk({ role: "assistant", content: ` word${String(i).padStart(2, "0")}` })
  ),
  chunk({ content: "" }, { usage }, "stop")
].map((text, i) => Buffer.from((i === 0 ? head("text/event-stream", undefined) : "") + piece(text)))
const last = Buffer.from(`${piece("data: [DONE]\n\n")}0\r\n\r\n`)

let given = 0
let held: Array<() => void> = []

const answer = (socket: Socket, path: string, body: string): void => {
  if (path === "/count") return void socket.write(json(JSON.stringify({ given, held: held.length })))
  if (path === "/release") {
    const now = held
    held = []
    for (const each of now) each()
    return void socket.write(answers.ok)
  }
  if (path.endsWith("/key")) return void socket.write(answers.key)
  const reply = () => {
    given++
    if (body.includes('"stream":true')) return stream(socket, 0)
    socket.write(answers.whole)
  }
  if (path.startsWith("/hold")) held.push(reply)
  else reply()
}

const stream = (socket: Socket, at: number): void => {
  if (socket.destroyed) return
  socket.write(pieces[at] ?? last)
  if (at < pieces.length) setImmediate(stream, socket, at + 1)
}

const server = createServer({ noDelay: true }, (socket) => {
  let rest = ""
  socket.setEncoding("latin1")
  socket.on("error", () => socket.destroy())
  socket.on("data", (data: string) => {
    rest = rest === "" ? data : rest + data
    for (;;) {
      const end = rest.indexOf("\r\n\r\n")
      if (end < 0) return
      const length = Number(/\r\ncontent-length: *(\d+)/i.exec(rest.slice(0, end + 2))?.[1] ?? 0)
      if (rest.length < end + 4 + length) return
      const path = rest.slice(rest.indexOf(" ") + 1, rest.indexOf(" HTTP"))
      const body = rest.slice(end + 4, end + 4 + length)
      rest = rest.slice(end + 4 + length)
      answer(socket, path, body)
    }
  })
})
server.listen({ port: 0, host: "127.0.0.1", backlog: 16_384 }, () => {
  process.send?.(server.address())
})
process.on("disconnect", () => process.exit())
