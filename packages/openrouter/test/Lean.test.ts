// What holds of streams holds of them over the lean client too, which has a way of its own for bodies and their bytes.
import { UndiciHttpClient } from "@evenkeel/undici"
import { transport } from "./utils.ts"
import "./ChatStream.test.ts"
import "./Sse.test.ts"

transport.layer = UndiciHttpClient.layer
