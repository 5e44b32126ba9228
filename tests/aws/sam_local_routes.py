"""How `sam local start-api` reads the template, asked of SAM CLI itself: every route must reach a function."""

import sys

from samcli.lib.providers.api_provider import ApiProvider
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider

stacks, _ = SamLocalStackProvider.get_stacks("template.yaml")
functions = SamFunctionProvider(stacks, ignore_code_extraction_warnings=True)
routes = ApiProvider(stacks).api.routes
lost = [route.path for route in routes if functions.get(route.function_name or "") is None]
print(f"{len(routes)} routes, {len(lost)} of them without a function: {lost}")
sys.exit(bool(lost) or len(routes) != 7)
