"""Checks with SAM CLI's own code that every route of the template reaches a function under
`sam local start-api`."""

import sys

from samcli.lib.providers.api_provider import ApiProvider
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider

stacks, _ = SamLocalStackProvider.get_stacks("template.yaml")
functions = SamFunctionProvider(stacks, ignore_code_extraction_warnings=True)
routes = ApiProvider(stacks).api.routes
unserved = [route.path for route in routes if functions.get(route.function_name or "") is None]
print(f"{len(routes)} routes, {len(unserved)} of them without a function: {unserved}")
sys.exit(bool(unserved) or len(routes) != 7)
