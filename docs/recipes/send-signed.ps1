# Sends a signed webhook, for example as the post-job script of backup software. Windows PowerShell 5.1 or newer.
#
#   .\send-signed.ps1 -Url https://… -SecretFile C:\ProgramData\cbr-sync\secret.txt -VaultId <vault id>
#
# The file holds the whsec_… secret, readable for the account of the job alone. "time" is when the job ended: what is
# sent again with the same time starts no second sync.
param(
    [Parameter(Mandatory)] [string] $Url,
    [Parameter(Mandatory)] [string] $SecretFile,
    [Parameter(Mandatory)] [string] $VaultId
)
$ErrorActionPreference = 'Stop'
[Net.ServicePointManager]::SecurityProtocol = [Net.SecurityProtocolType]::Tls12

$secret = (Get-Content -Raw $SecretFile).Trim()
$key = [Convert]::FromBase64String($secret.Substring('whsec_'.Length))
$id = 'job-' + [guid]::NewGuid().ToString('N')
$now = [DateTimeOffset]::UtcNow
$timestamp = $now.ToUnixTimeSeconds()
$body = '{{"vault_id": "{0}", "time": "{1:yyyy-MM-ddTHH:mm:ssZ}"}}' -f $VaultId, $now.UtcDateTime
$hmac = [Security.Cryptography.HMACSHA256]::new($key)
$digest = $hmac.ComputeHash([Text.Encoding]::UTF8.GetBytes("$id.$timestamp.$body"))
$headers = @{
    'webhook-id'        = $id
    'webhook-timestamp' = "$timestamp"
    'webhook-signature' = 'v1,' + [Convert]::ToBase64String($digest)
}

for ($attempt = 1; ; $attempt++) {
    try {
        Invoke-RestMethod -Method Post -Uri $Url -Headers $headers -ContentType 'application/json' -Body $body -TimeoutSec 35
        break
    }
    catch {
        # 503 asks to send it again; the signature is valid for five minutes.
        $status = [int] $_.Exception.Response.StatusCode
        if ($attempt -ge 5 -or ($status -ne 503 -and $status -ne 0)) { throw }
        Start-Sleep -Seconds 30
    }
}
