-- Energy by device and day (UTC): Wh used as the counter tells, mean and highest power in W, from the day @first to @last.
-- Put the data set's name in for DATASET; README.md has the command.
--
-- The same event may be there several times, always with the same ce_id: one of its rows counts. A counter that falls began
-- anew at 0, except for a fall so small that it is one of rounding: that is taken off again. What was used in a gap counts
-- on the day of its end; for the last counter before @first a month is read.

WITH readings AS (
  SELECT device, timestamp, energy, power
  FROM DATASET.readings
  WHERE timestamp >= TIMESTAMP(DATE_SUB(@first, INTERVAL 31 DAY)) AND timestamp < TIMESTAMP(DATE_ADD(@last, INTERVAL 1 DAY))
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY COALESCE(JSON_VALUE(attributes, '$.ce_id'), message_id) ORDER BY publish_time
  ) = 1
),
counters AS (
  SELECT
    device,
    DATE(timestamp) AS day,
    energy,
    LAG(energy) OVER (PARTITION BY device ORDER BY timestamp, energy) AS before
  FROM readings
  WHERE energy IS NOT NULL
),
used AS (
  SELECT
    device,
    day,
    SUM(CASE WHEN energy < 0.99 * before THEN energy ELSE energy - before END) AS energy
  FROM counters
  GROUP BY device, day
),
-- A power lasts until the next one, for an hour at most.
powers AS (
  SELECT
    device,
    DATE(timestamp) AS day,
    power,
    LEAST(
      3600,
      TIMESTAMP_DIFF(
        COALESCE(LEAD(timestamp) OVER (PARTITION BY device ORDER BY timestamp), timestamp), timestamp, MILLISECOND
      ) / 1000
    ) AS seconds
  FROM readings
  WHERE power IS NOT NULL
),
drawn AS (
  SELECT
    device,
    day,
    COALESCE(SUM(power * seconds) / NULLIF(SUM(seconds), 0), AVG(power)) AS mean_power,
    MAX(power) AS peak_power
  FROM powers
  GROUP BY device, day
)
SELECT device, day, energy AS energy_used, mean_power, peak_power
FROM used
FULL JOIN drawn USING (device, day)
WHERE day BETWEEN @first AND @last
ORDER BY device, day;
