import { Agent } from "@effect/platform-node/Undici"
import { body, secretOf, type Make } from "../Client.ts"
import { textOf, textsOf } from "./wire.ts"

const headers = (turn: number) => ({
  authorization: `Bearer ${secretOf(turn)}`,
  "content-type": "application/json"
})

/** undici's `request`: what a careful program would write by hand. */
export const make: Make = async (url) => {
  const agent = new Agent()
  const { origin, pathname } = new URL(`${url}/chat/completions`)
  const send = (turn: number, more: object) =>
    agent.request({
      origin,
      path: pathname,
      method: "POST",
      headers: headers(turn),
      body: JSON.stringify({ ...body(), ...more })
    })
  return {
    call: async (turn) => textOf(await (await send(turn, {})).body.json()),
    stream: async (turn, first) => {
      const reader = textsOf(first)
      for await (const chunk of (await send(turn, { stream: true })).body) reader.push(chunk as Uint8Array)
      return reader.text()
    },
    close: () => agent.close()
  }
}
