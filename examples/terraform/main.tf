# The stack of a release. Not run yet: written from the documentation of the AWS provider.
# https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/cloudformation_stack

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "assets" {
  description = "The folder of the release's archive for one architecture, with template.yaml and a zip for each function."
  type        = string
}

variable "name" {
  description = "The stack's name, with which all names begin."
  type        = string
  default     = "countersign"
}

variable "parameters" {
  description = "Parameters of docs/deploy.md that differ from their defaults."
  type        = map(string)
  default     = {}
}

locals {
  functions = toset(["authorizer", "jwks", "refresh", "rotate", "token"])
  # Changes with the code, so that CloudFormation sees a change.
  release = sha256(join("", [for name in local.functions : filesha256("${var.assets}/${name}.zip")]))
  template = replace(
    file("${var.assets}/template.yaml"),
    "/CodeUri: (\\w+)[.]zip/",
    "CodeUri: s3://${aws_s3_bucket.assets.bucket}/${local.release}/$1.zip"
  )
}

resource "aws_s3_bucket" "assets" {
  bucket_prefix = "${var.name}-assets-"
}

resource "aws_s3_object" "function" {
  for_each = local.functions
  bucket   = aws_s3_bucket.assets.bucket
  key      = "${local.release}/${each.key}.zip"
  source   = "${var.assets}/${each.key}.zip"

  # The release of before goes after the update: a stack that rolls back needs it.
  lifecycle {
    create_before_destroy = true
  }
}

# CloudFormation takes a template of this size from S3 only.
resource "aws_s3_object" "template" {
  bucket  = aws_s3_bucket.assets.bucket
  key     = "${local.release}/${sha256(local.template)}.yaml"
  content = local.template

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_cloudformation_stack" "countersign" {
  name         = var.name
  template_url = "https://${aws_s3_bucket.assets.bucket_regional_domain_name}/${aws_s3_object.template.key}"
  parameters   = var.parameters
  # Roles, and the SAM transform.
  capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
  depends_on   = [aws_s3_object.function]
}

output "issuer" {
  value = aws_cloudformation_stack.countersign.outputs["Issuer"]
}

output "environment" {
  description = "The variables that the countersign program needs beside credentials."
  value       = aws_cloudformation_stack.countersign.outputs["Environment"]
}
