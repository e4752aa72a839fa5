// The script of the page in which the browser suite runs the unmodified SDK: the test that drives the page calls and is told.
import { CbEvents, getSDK } from '@openim/client-sdk/lib/index.modern.mjs';

const sdk = getSDK();
for (const event of Object.values(CbEvents)) sdk.on(event, (answer) => globalThis.raised(event, answer));
globalThis.call = (name, args) => sdk[name](...args).then((answer) => ({ answer }), (refusal) => ({ refusal }));
