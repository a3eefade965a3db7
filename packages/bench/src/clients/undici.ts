import { Agent, type Dispatcher } from "@effect/platform-node/Undici"
import { body, secretOf, type Make } from "../Client.ts"
import { textOf, textsOf } from "./wire.ts"

const headers = (turn: number) => ({
  authorization: `Bearer ${secretOf(turn)}`,
  "content-type": "application/json"
})

/** undici's `dispatch`, its answers read in its own callbacks: the least that HTTP and JSON cost here. */
export const dispatching: Make = async (url) => {
  const agent = new Agent()
  const { origin, pathname } = new URL(`${url}/chat/completions`)
  const send = (turn: number, more: object, push: (bytes: Uint8Array) => void): Promise<void> =>
    new Promise((resolve, reject) => {
      const handler: Dispatcher.DispatchHandler = {
        onRequestStart: () => {},
        onResponseStart: () => {},
        onResponseData: (_, bytes) => push(bytes),
        onResponseEnd: () => resolve(),
        onResponseError: (_, error) => reject(error)
      }
      const json = JSON.stringify({ ...body(), ...more })
      agent.dispatch({ origin, path: pathname, method: "POST", headers: headers(turn), body: json }, handler)
    })
  return {
    call: async (turn) => {
      let text = ""
      await send(turn, {}, (bytes) => (text += decoder.decode(bytes)))
      return textOf(JSON.parse(text))
    },
    stream: async (turn, first) => {
      const reader = textsOf(first)
      await send(turn, { stream: true }, reader.push)
      return reader.text()
    },
    close: () => agent.close()
  }
}

const decoder = new TextDecoder()

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
