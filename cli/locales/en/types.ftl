types-config = configuration:
types-no-config = no configuration
types-result = result: { $kind }
types-any-result = result: any JSON value
