import { join } from "node:path";

import { Stack } from "aws-cdk-lib";
import { CfnInclude } from "aws-cdk-lib/cloudformation-include";
import { Asset } from "aws-cdk-lib/aws-s3-assets";

const FUNCTIONS = ["Authorizer", "Jwks", "Refresh", "Rotate", "Token"];

/**
 * The stack of a release: its template unchanged, with the archives of the functions as assets.
 *
 * `assets` is the folder of the release's archive for one architecture, with template.yaml and a zip
 * for each function. `parameters` are those of docs/deploy.md.
 */
export class Countersign extends Stack {
  constructor(scope, id, { assets, parameters, ...properties }) {
    super(scope, id, properties);
    const template = new CfnInclude(this, "Template", { templateFile: join(assets, "template.yaml"), parameters });
    for (const name of FUNCTIONS) {
      const code = new Asset(this, `${name}Code`, { path: join(assets, `${name.toLowerCase()}.zip`) });
      template.getResource(`${name}Function`).codeUri = { bucket: code.s3BucketName, key: code.s3ObjectKey };
    }
    /** The issuer's URL, for the environment of your APIs. */
    this.issuer = template.getOutput("Issuer").value;
  }
}
