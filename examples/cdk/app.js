import { App } from "aws-cdk-lib";

import { Countersign } from "./countersign.js";

const app = new App();
// cdk deploy --context assets=…/countersign-functions-0.1.0-arm64
const assets = app.node.getContext("assets");
new Countersign(app, "countersign", {
  assets,
  parameters: { LogRetentionDays: 365 },
});
app.synth();
