import { assert, describe, it } from "@effect/vitest"
import { Selector } from "@evenkeel/core"
import { Effect } from "effect"
import { chat, json, rejection, served } from "./fetching.ts"
import { secretOf } from "./utils.ts"

/** Each key in turn, so that only state can hold requests on one. */
const turning = () => {
  let turn = 0
  return Selector.make("turning", (candidates) => candidates[turn++ % candidates.length]!)
}

const key = (id: string, account: string) => ({ id, account, secret: secretOf(id) })
const accounts = [key("a", "one"), key("b", "two"), key("c", "one"), key("d", "two")]

const post = (body: object) => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body)
})

describe("OpenRouterFetch: state", () => {
  it.live("what one key has made is asked of that key again", () =>
    served(
      (response, request) => {
        if (request.method === "POST" && request.url!.endsWith("/files")) json(response, { id: "file-1" })
        else if (request.url!.endsWith("/batches"))
          json(response, { id: "batch 1", output_file_id: "file-2" })
        else json(response, {}, { "x-generation-id": "gen-1" })
      },
      { keys: accounts, selector: turning() },
      async ({ baseUrl, fetch, met }) => {
        await fetch(`${baseUrl}/files`, post({}))
        await fetch(`${baseUrl}/batches`, post({ input_file_id: "file-1" }))
        await fetch(`${baseUrl}/files/file-1/content`)
        await fetch(`${baseUrl}/batches/batch%201`)
        await fetch(`${baseUrl}/files/file-2`, { method: "DELETE" })
        const file = { type: "file", file: { file_id: "file-1" } }
        await fetch(`${baseUrl}/chat/completions`, post({ messages: [{ role: "user", content: [file] }] }))
        await fetch(`${baseUrl}/generation?id=gen-1`)
        assert.deepStrictEqual(
          met(),
          Array.from({ length: 7 }, () => "a")
        )
        // The selector was not asked for these, so it goes on behind its first answer.
        await fetch(`${baseUrl}/files/file-3`)
        assert.strictEqual(met().at(-1), "b")
      }
    )
  )

  it.live("a stored response, streamed or not, holds the conversation on its key", () =>
    served(
      (response, _request, body) => {
        if (!JSON.parse(body).stream) return json(response, { id: "resp_1", status: "completed" })
        const events = [
          { type: "response.created", response: { id: "resp_2" } },
          { type: "response.output_text.delta", delta: "Hi" },
          { type: "response.completed", response: { id: "resp_2", usage: {} } }
        ]
        response.writeHead(200, { "content-type": "text/event-stream" })
        for (const event of events) response.write(`data: ${JSON.stringify(event)}\n\n`)
        response.end()
      },
      { keys: accounts, selector: turning() },
      async ({ baseUrl, fetch, met }) => {
        const url = `${baseUrl}/responses`
        await fetch(url, post({ input: "hello" }))
        await (await fetch(url, post({ input: "hello", stream: true }))).text()
        await fetch(url, post({ input: "more", previous_response_id: "resp_1" }))
        await fetch(url, post({ input: "more", previous_response_id: "resp_2" }))
        await fetch(url, post({ input: "not kept", store: false }))
        assert.deepStrictEqual(met(), ["a", "b", "a", "b", "c"])
      }
    )
  )

  it.live("if the key cannot serve another of its account does, and none of another account", () =>
    served(
      (response, request) => {
        const refused =
          request.headers.authorization === `Bearer ${secretOf("a")}` && request.method !== "POST"
        if (!refused) return json(response, { id: "file-1" })
        const error = { error: { code: 401, message: "User not found." } }
        response.writeHead(401, { "content-type": "application/json" }).end(JSON.stringify(error))
      },
      { keys: accounts.slice(0, 3), selector: turning() },
      async ({ baseUrl, fetch, met }) => {
        await fetch(`${baseUrl}/files`, post({}))
        assert.strictEqual((await fetch(`${baseUrl}/files/file-1`)).status, 200)
        assert.strictEqual((await fetch(`${baseUrl}/files/file-1`)).status, 200)
        assert.deepStrictEqual(met(), ["a", "a", "c", "c"])
      }
    )
  )

  it.live("if no key of the account can serve the refusal says so of each", () =>
    served(
      (response, request) => {
        if (request.method === "POST") return json(response, { id: "video-1" })
        const error = { error: { code: 401, message: "User not found." } }
        response.writeHead(401, { "content-type": "application/json" }).end(JSON.stringify(error))
      },
      { keys: accounts.slice(0, 2), selector: turning() },
      async ({ baseUrl, fetch, met }) => {
        await fetch(`${baseUrl}/videos`, post({}))
        const answer = await fetch(`${baseUrl}/videos/video-1`)
        assert.strictEqual(answer.status, 401)
        const { error } = (await answer.json()) as any
        assert.deepStrictEqual(
          error.metadata.evenkeel.keys.map(({ id, reason }: any) => `${id} ${reason}`),
          ["a rejected", "b elsewhere"]
        )
        assert.deepStrictEqual(met(), ["a", "a"])
      }
    )
  )
})

describe("OpenRouterFetch: redirects", () => {
  const redirecting = (status: number, location: string) =>
    served(
      (response, request) =>
        request.url === "/api/v1/old"
          ? response.writeHead(status, { location, "content-type": "text/plain" }).end("moved")
          : json(response, { method: request.method }),
      {},
      async ({ baseUrl, fetch, met, seen }) => {
        const answer = await fetch(`${baseUrl}/old`, chat())
        const kept = status > 303
        assert.deepStrictEqual(await answer.json(), { method: kept ? "POST" : "GET" })
        assert.strictEqual(seen[1]!.body, kept ? seen[0]!.body : "")
        assert.deepStrictEqual(met(), ["a", "a"])
      }
    )

  for (const status of [301, 302, 303, 307, 308]) {
    it.live(`${status} on the same origin is followed, on the same key`, () =>
      redirecting(status, "/api/v1/new?a=%2F")
    )
  }

  it.live("to another origin: nobody goes there, and the caller sees where it leads", () =>
    served(
      (response) => json(response, {}),
      {},
      async ({ origin: elsewhere, seen: strangers }) => {
        const other = elsewhere.replace("127.0.0.1", "localhost")
        await new Promise<void>((resolve, reject) => {
          const inner = served(
            (response) =>
              response.writeHead(307, { location: `${other}/steal`, "content-length": "0" }).end(),
            {},
            async ({ baseUrl, fetch }) => {
              const answer = await fetch(`${baseUrl}/chat/completions`, chat())
              assert.strictEqual(answer.status, 307)
              assert.strictEqual(answer.headers.get("location"), `${other}/steal`)
            }
          )
          void Effect.runPromise(Effect.scoped(inner)).then(resolve, reject)
        })
        assert.isEmpty(strangers)
      }
    )
  )

  it.live("as the caller wants them: manual, error, and not for ever", () =>
    served(
      (response) => response.writeHead(302, { location: "/api/v1/again", "content-length": "0" }).end(),
      {},
      async ({ baseUrl, fetch, seen }) => {
        const manual = await fetch(`${baseUrl}/x`, { redirect: "manual" })
        assert.strictEqual(manual.status, 302)
        assert.strictEqual(seen.length, 1)
        const refused = await rejection(fetch(`${baseUrl}/x`, { redirect: "error" }))
        assert.include(refused.cause.message, "redirect")
        assert.strictEqual(seen.length, 2)
        const endless = await rejection(fetch(`${baseUrl}/x`))
        assert.include(endless.cause.message, "redirect count")
        assert.strictEqual(seen.length, 2 + 21)
      }
    )
  )
})
