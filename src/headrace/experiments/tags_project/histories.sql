SELECT tag, time, value INTO history FROM readings
