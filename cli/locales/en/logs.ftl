logs-none = no lines
logs-in-aws = In AWS the log is in CloudWatch Logs; this command reads it:
