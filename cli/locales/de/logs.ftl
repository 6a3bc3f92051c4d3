logs-none = keine Zeilen
logs-in-aws = In AWS steht das Protokoll in CloudWatch Logs; dieser Befehl liest es:
