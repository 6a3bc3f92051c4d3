types-config = configuration:
types-no-config = no configuration
types-result = result: { $kind }
types-any-result = result: any data, none is promised
